from .dag import DagEditor as DagEditor
from .intervene import InterventionView as InterventionView
from .monitor import MonitorView as MonitorView
