# Where the public names come from; kept equal to `_HOMES` by tests/house.

from statepipe.config import load_config as load_config
from statepipe.engine import Engine as Engine
from statepipe.errors import BadAnswer as BadAnswer
from statepipe.errors import BadParameter as BadParameter
from statepipe.errors import Fatal as Fatal
from statepipe.errors import Reject as Reject
from statepipe.errors import StatepipeError as StatepipeError
from statepipe.errors import Throttled as Throttled
from statepipe.io.files.parquet import read_parquet as read_parquet
from statepipe.io.files.text import read_csv as read_csv
from statepipe.io.files.text import read_jsonl as read_jsonl
from statepipe.io.rest.limits import HttpLimits as HttpLimits
from statepipe.io.rest.pages import ByCursor as ByCursor
from statepipe.io.rest.pages import ByLink as ByLink
from statepipe.io.rest.pages import ByOffset as ByOffset
from statepipe.io.rest.pages import ByPage as ByPage
from statepipe.io.rest.source import read_rest as read_rest
from statepipe.io.sql.limits import SqlLimits as SqlLimits
from statepipe.io.sql.source import read_sql as read_sql
from statepipe.machine.datasets import Dataset as Dataset
from statepipe.machine.definition import Machine as Machine
from statepipe.machine.definition import State as State
from statepipe.machine.definition import Transition as Transition
from statepipe.machine.judging import Validate as Validate
from statepipe.machine.parameter import Param as Param
from statepipe.machine.partition import Partition as Partition
from statepipe.machine.taskgraph import Child as Child
from statepipe.machine.taskgraph import Graph as Graph
from statepipe.machine.taskgraph import GraphTask as GraphTask
from statepipe.machine.tasks import Load as Load
from statepipe.machine.tasks import Run as Run
from statepipe.machine.triggers.arrivals import Arriving as Arriving
from statepipe.machine.triggers.events import Emitted as Emitted
from statepipe.machine.triggers.schedules import Schedule as Schedule
from statepipe.machine.triggers.trigger import Trigger as Trigger
from statepipe.machine.triggers.upstreams import After as After
from statepipe.machine.waits import Wait as Wait
from statepipe.model import Batch as Batch
from statepipe.model import Outcome as Outcome
from statepipe.model import Task as Task
from statepipe.policy import Policy as Policy
from statepipe.store.lookups.listing import Filter as Filter
from statepipe.store.reading import Reader as Reader

__version__: str
