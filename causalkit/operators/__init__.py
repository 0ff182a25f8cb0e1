"""Callables that report themselves, free until someone listens: ensembles, judges, routers, chains of operators.

=======================================================  ============================  ===================
question                                                 name                          module
=======================================================  ============================  ===================
How does a function or a class report its calls?         `trace`                       `tracing`
How does a class of mine do so by inheritance?           `TracedOperator`              `tracing`
How does a block of code?                                `ExecutionContext`            `events`
Who is called?                                           `OperatorMetadata`            `events`
How do I hear what one block of code sets off?           `collect_events`              `listening`
How do I hear the whole process?                         `EventCollector`              `listening`
What is said about a call?                               `OperatorEvent`               `events`
How do I add a number or a label?                        `emit_metric`                 `open_calls`
How do I measure every result?                           `AccuracyMetric`              `metrics`
How do I keep events, live or afterwards?                `save_events`                 `event_journal`
How do I read them back?                                 `load_events`                 `event_reading`
How do I let listeners hear them again?                  `replay`                      `event_journal`
What can I ask them?                                     `OperatorAnalysis`            `analysis`
How far apart are these votes?                           `disagreement`                `agreement`
What happens right now?                                  `OperatorMonitor`             `monitor`
Who calls whom, and who is given whose result?           `visualize_operator_flow`     `flow`
=======================================================  ============================  ===================

A judge is linked to its ensemble by `ExecutionContext.link` or by its data, never by a guess. The time that reporting
itself takes counts into the callers' times. Nothing is reported from other processes: let each write a journal.
"""
