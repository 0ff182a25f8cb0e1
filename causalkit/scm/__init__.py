"""Fit a structural causal model to a trace table, judge it, and ask it.

==========================================================  ===================  =================
question                                                    name                 module
==========================================================  ===================  =================
How do I fit a model, and does it hold on unseen rows?      `SCMFitter`          `fitter`
What can I ask a fitted model?                              `FittedSCM`          `model`
How do I shift a node instead of setting it?                `Shift`              `interventions`
How do I scale a node instead of setting it?                `Scale`              `interventions`
==========================================================  ===================  =================

Mechanisms are polynomials up to degree 2. Text and missing values in a trace table are refused, not modelled.
"""
