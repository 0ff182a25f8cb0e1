"""Views to play with in a notebook; each also gives its reading as text.

==========================================================  =======================  =================
question                                                    name                     module
==========================================================  =======================  =================
What happens to the outcome if I turn this knob?            `InterventionView`       `intervene`
What do my operators do while they run?                     `MonitorView`            `monitor`
Is this graph right, and what if not?                       `DagEditor`              `dag`
==========================================================  =======================  =================
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
