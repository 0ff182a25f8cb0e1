from .backtest import plot_backtest as plot_backtest
from .causes import plot_root_causes as plot_root_causes
from .dag import plot_dag as plot_dag
from .effects import plot_effects as plot_effects
from .failures import plot_failures as plot_failures
from .interventions import plot_intervention as plot_intervention
from .latency import plot_latency as plot_latency
from .validation import plot_validation as plot_validation
