"""Views to play with in a notebook; each also gives its reading as text.

==========================================================  =======================  =================
question                                                    name                     module
==========================================================  =======================  =================
What happens to the outcome if I turn this knob?            `InterventionView`       `intervene`
==========================================================  =======================  =================
"""
