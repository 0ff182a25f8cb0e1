"""Readers of other tools' traces, one module a tool; none needs the tool (the table is in `causalkit.workflows`).

A root span is a run, every other span one of its steps. What several tools call differently has one name besides its
own (`vocabulary`); what has no place in a run or a step stands under its own name among the attributes.
"""
