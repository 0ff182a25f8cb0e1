"""One picture per subject: each function takes the thing to show and an ``ax``, returns the axes, and never shows them.

==========================================================  ========================  ===================
question                                                    name                      module
==========================================================  ========================  ===================
What causes what, and why is an edge there?                 `plot_dag`                `dag`
How long does each step take?                               `plot_latency`            `latency`
What did one run do, and when?                              `plot_timeline`           `timeline`
Which steps failed, and of what?                            `plot_step_failures`      `step_failures`
How did the latency go over time?                           `plot_latency_over_time`  `latency_over_time`
Which cases of a regression run moved?                      `plot_regression`         `regression`
Who calls whom, and how far do they agree?                  `plot_operator_flow`      `operator_flow`
How far do the members of ensembles disagree?               `plot_disagreement`       `agreement`
How often is the judge right, and when?                     `plot_judge_accuracy`     `agreement`
Which mechanism holds on unseen rows?                       `plot_validation`         `validation`
What does an intervention do to a node?                     `plot_intervention`       `interventions`
How large are these effects?                                `plot_effects`            `effects`
What would each setting of a treatment do?                  `plot_effect_curve`       `effect_curve`
What would these very rows have been?                       `plot_counterfactual`     `counterfactual`
Which causes are strong?                                    `plot_strengths`          `strengths`
Which mechanisms changed the target, and by how much?       `plot_change`             `change`
What did a release change, step by step?                    `plot_why_changed`        `why`
What made these runs bad?                                   `plot_why_bad`            `why`
What does a target depend on, and how much?                 `plot_what_drives`        `why`
Where do my functions fail?                                 `plot_failures`           `failures`
Which nodes are to blame?                                   `plot_root_causes`        `causes`
Where in the graph do they stand?                           `plot_causes_on_graph`    `causes_graph`
Which rows are outliers, and what made each one?            `plot_outliers`           `outliers`
Which service explains an incident?                         `plot_incident`           `incidents`
What does one mechanism make of its parents?                `plot_mechanism`          `mechanism`
What did climbing the ladder win?                           `plot_ladder`             `ladder`
Which edges does the data contradict?                       `plot_falsification`      `falsification`
Did the predictions for unseen settings come true?          `plot_backtest`           `backtest`
==========================================================  ========================  ===================

Colours are those of Okabe and Ito, which people who see no red or no green can tell apart; nothing is told by colour
alone.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
