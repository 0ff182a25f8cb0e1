"""Runs made of steps: record them, read them back, turn them into a table and a causal graph.

==================================================  ====================  ==============
question                                            name                  module
==================================================  ====================  ==============
How do I record what my workflow does?              `Tracer`              `tracer`
How do I run named steps and trace every one?       `GraphExecutor`       `executor`
What is recorded about a run?                       `WorkflowTrace`       `records`
What is recorded about one of its steps?            `StepTrace`           `records`
How good does an answer look from the outside?      `QualitySignals`      `quality`
How do I read recorded runs back?                   `load_traces`         `traces`
What can I do with them?                            `Traces`              `traces`
==================================================  ====================  ==============

Steps that run in parallel, formats of other tools, and queries over journals larger than memory are not done here yet.
"""
