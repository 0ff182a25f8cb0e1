"""Read programs without running them: which values cause which, and by what formula.

======================================================  ==========================  ==================
question                                                name                        module
======================================================  ==========================  ==================
What causes what in my functions?                       `graph_from_code`           `graph`
What formula does this function compute?                `infer_mechanism`           `mechanism`
What is claimed about a formula, and why not more?      `StaticMechanism`           `claims`
======================================================  ==========================  ==================
"""
