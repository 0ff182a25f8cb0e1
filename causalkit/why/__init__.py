"""Three questions put to recorded runs, each in one line: the one place that knows both traces and models.

=====================================================  ================  ===========
question                                               name              module
=====================================================  ================  ===========
Which step's own behaviour changed between releases?   `why_changed`     `questions`
What made these runs bad?                              `why_bad`         `questions`
What does a target depend on, and how much?            `what_drives`     `questions`
=====================================================  ================  ===========

Runs become a table and a graph, these a model, and the model is asked. Not done: a cause that no run recorded is not
found, only warned of (see the caveats of every answer).
"""
