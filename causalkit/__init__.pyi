from .collect.collector import TraceCollector as TraceCollector
from .collect.collector import collect_traces as collect_traces
from .collect.inputs import generate_random_inputs as generate_random_inputs
from .errors import CausalkitError as CausalkitError
from .errors import ExecutionError as ExecutionError
from .errors import FitError as FitError
from .errors import GraphError as GraphError
from .errors import InsufficientDataError as InsufficientDataError
from .errors import RecordingNotFoundError as RecordingNotFoundError
from .errors import TraceCollectionError as TraceCollectionError
from .errors import TraceFormatError as TraceFormatError
from .errors import ValidationError as ValidationError
from .examples.recordings import load_recording as load_recording
from .scm.fitter import SCMFitter as SCMFitter
from .scm.interventions import Scale as Scale
from .scm.interventions import Shift as Shift
from .scm.model import FittedSCM as FittedSCM
from .workflows.executor import GraphExecutor as GraphExecutor
from .workflows.quality import QualitySignals as QualitySignals
from .workflows.records import StepTrace as StepTrace
from .workflows.records import WorkflowTrace as WorkflowTrace
from .workflows.tracer import Tracer as Tracer
from .workflows.traces import Traces as Traces
from .workflows.traces import load_traces as load_traces

__version__: str
