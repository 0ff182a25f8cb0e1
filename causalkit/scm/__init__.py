"""Fit a structural causal model to a trace table, judge it, keep it, and ask it.

==========================================================  ===================  =================
question                                                    name                 module
==========================================================  ===================  =================
How do I fit a model, and does it hold on unseen rows?      `SCMFitter`          `fitter`
What warns that it does not?                                `ValidationWarning`  `fitter`
What can I ask a fitted model?                              `FittedSCM`          `model`
How well does each mechanism do on unseen rows?             `ValidationReport`   `validation`
What would these very rows have been?                       `Counterfactual`     `counterfactuals`
What warns that a fit could not be kept in a cache?         `CacheWarning`       `cache`
Does the data contradict my graph?                          `falsify`            `falsify`
What exactly does it contradict?                            `Falsification`      `falsify`
How do I fit where dowhy is not installed?                  `DoWhyClient`        `client`
How do I shift a node instead of setting it?                `Shift`              `interventions`
How do I scale a node instead of setting it?                `Scale`              `interventions`
==========================================================  ===================  =================

Not done: latent confounders, feedback loops, free text as a node.
"""
