"""Runs made of steps: record them, read them back, ask them anything, and turn them into a table and a causal graph.

===================================================  ====================  =======================
question                                             name                  module
===================================================  ====================  =======================
How do I record what my workflow does?               `Tracer`              `tracer`
How do I run named steps and trace every one?        `GraphExecutor`       `executor`
What is recorded about a run?                        `WorkflowTrace`       `records`
What is recorded about one of its steps?             `StepTrace`           `records`
How good does an answer look from the outside?       `QualitySignals`      `quality`
How do I add a signal of my own?                     `quality_signal`      `quality`
What does a workflow cost, and how often is it ok?   `WorkflowCostStats`   `cost_stats`
How do I keep that up to date?                       `CostStatsManager`    `costs`
How do I read recorded runs back?                    `load_traces`         `traces`
What is in this file, whatever tool wrote it?        `read_traces`         `readers.recognising`
What did OpenTelemetry export (OTLP/JSON)?           `read_otlp`           `readers.otlp`
What did it print to the console?                    `read_console`        `readers.console`
What did Phoenix collect, or OpenInference?          `read_openinference`  `readers.openinference`
What did MLflow trace?                               `read_mlflow`         `readers.mlflow`
What did Langfuse export?                            `read_langfuse`       `readers.langfuse`
What did an evaluation by Inspect log?               `read_inspect`        `readers.inspect_ai`
What did Jaeger download?                            `read_jaeger`         `readers.jaeger`
What does an event log hold (case, activity, time)?  `read_event_log`      `readers.event_log`
What can I ask them?                                 `Traces`              `traces`
How do I make that fast for large journals?          `compact`             `compact`
What held each run up?                               `critical_path`       `step_times`
What can a router learn from them?                   `to_router_table`     `router_table`
Is a new version really worse?                       `run_regression`      `regression`
What must it do, case by case?                       `RegressionCase`      `regression_cases`
How did it do?                                       `RegressionReport`    `regression_report`
===================================================  ====================  =======================

Journals are read in SQL through Ibis: what a method does not answer, ``traces.runs()`` and ``traces.steps()`` do.
What tools call differently has one name besides its own in their traces (`causalkit.workflows.readers.vocabulary`).
"""
