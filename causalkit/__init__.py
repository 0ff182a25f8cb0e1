"""Why did it happen? Causal models of the traces that programs, operators and workflows leave behind.

Runs become a trace table and a causal graph, these become a structural causal model that was checked on
held-out rows, and the model answers: what if, why, and which part.

===================================================  ======================================================
The way of the data                                  Room
===================================================  ======================================================
From source to a causal graph and formulas           ``causalkit.code``
From functions along a graph to a trace table        ``causalkit.collect``
From a trace table and a graph to a checked model    ``causalkit.scm``
From live runs to journals, traces and graphs        ``causalkit.workflows``
From calls of operators to votes, verdicts, graphs   ``causalkit.operators``
From two sets of runs to what changed                ``causalkit.why``
From a result to a picture                           ``causalkit.plots``
From a picture to one that answers to a slider       ``causalkit.widgets``
Recordings and models whose answer is known          ``causalkit.examples``
===================================================  ======================================================

Examples
--------
>>> import causalkit as ck
>>> "SCMFitter" in dir(ck)
True
>>> issubclass(ck.InsufficientDataError, ck.FitError)
True

Notes
-----
A public name is loaded when it is first used, so ``import causalkit`` itself costs next to nothing; the
names and where they live stand in one table, ``causalkit/__init__.pyi``, which type checkers read as well.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
