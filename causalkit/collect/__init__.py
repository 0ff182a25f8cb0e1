"""Run functions along a causal graph and keep what they return.

======================================================  ==========================  ==================
question                                                name                        module
======================================================  ==========================  ==================
What do my functions do along this graph?               `collect_traces`            `collector`
The same for several graphs under one seed?             `TraceCollector`            `collector`
Which rows failed, where, on which inputs?              `FailedRows`                `failures`
Do failures depend on the inputs?                       `find_bias`                 `failures`
What warns that they do?                                `BiasedSampleWarning`       `failures`
What do the inputs of a graph look like?                `generate_random_inputs`    `inputs`
What noise is added to a node?                          `generate_noise`            `inputs`
Which function is meant, and can it be called?          `check_function`            `functions`
Which parent goes into which parameter?                 `bind_function`             `functions`
May this function run on whole columns?                 `ColumnEngine`              `columns`
======================================================  ==========================  ==================
"""
