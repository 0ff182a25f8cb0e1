"""Fit a structural causal model to a trace table, judge it, keep it, and ask it.

==========================================================  ====================  =================
question                                                    name                  module
==========================================================  ====================  =================
How do I fit a model, and does it hold on unseen rows?      `SCMFitter`           `fitter`
What warns that it does not?                                `ValidationWarning`   `fitter`
What can I ask a fitted model?                              `FittedSCM`           `model`
How well does each mechanism do on unseen rows?             `ValidationReport`    `validation`
What if this were done?                                     `InterventionResult`  `questions`
What would these very rows have been?                       `Counterfactual`      `counterfactuals`
How much does one node move another, and how sure is that?  `EffectResult`        `effects`
How does it go on over the whole range?                     `EffectCurve`         `effect_curves`
How strong is each edge into a node?                        `Strengths`           `strengths`
Whose own noise makes a node vary?                          `Influence`           `influence`
What does a node move, and how far?                         `Impact`              `impact`
By which ways does it get there?                            `Paths`               `ways`
Which mechanism changed between two tables?                 `Change`              `changes`
Which nodes made these rows abnormal?                       `RootCauses`          `causes`
Which rows are outliers, and what made each one?            `Outliers`            `outliers`
Which service of many is at fault, from metrics alone?      `explain_incident`    `incidents`
What does that answer hold?                                 `Incident`            `incidents`
What warns that a fit could not be kept in a cache?         `CacheWarning`        `cache`
Does the data contradict my graph?                          `falsify`             `falsify`
What exactly does it contradict?                            `Falsification`       `falsify`
How do I fit where dowhy is not installed?                  `DoWhyClient`         `client`
How do I shift a node instead of setting it?                `Shift`               `interventions`
How do I scale a node instead of setting it?                `Scale`               `interventions`
==========================================================  ====================  =================

Not done: latent confounders, feedback loops, free text as a node.
"""
