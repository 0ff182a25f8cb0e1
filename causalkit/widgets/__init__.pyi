from .intervene import InterventionView as InterventionView
