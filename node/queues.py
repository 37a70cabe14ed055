"""Asking for work: a workflow is enqueued in the transaction that makes it necessary.

DBOS keeps its queues in the node's own database, so the listeners and the command line ask for work without running
any: a worker takes it. Asking twice under one id is one piece of work.
"""

from dbos import DBOSClient
from dbos import EnqueueOptions as Options
from sqlalchemy.engine import Connection

APPLICATION = "marrow-node"
CLASS = "Workflows"
INSTANCE = "node"

CASES = "cases"  # one slide at a time per worker, STAT first
SIGNATURES = "signatures"  # and withdrawals, one at a time per worker; never behind a slide that is counted
INTAKE = "intake"  # short: completeness, matching, time-outs
DELIVERIES = "deliveries"  # one at a time per destination

# The workflows, by the name that `node/work/workflow.py` registers them under.
SETTLE = "settle"
LINK = "link"
WAIT_ORDER = "give_up_order"
WAIT_SLIDE = "give_up_slide"
COUNT = "count"
SIGN = "sign"
WITHDRAW = "withdraw"
DELIVER = "deliver"
NOTIFY = "notify"


class Work:
    """Enqueues workflows.

    Parameters
    ----------
    url : str
        Address of the node's database, where the tables of DBOS already are.

    """

    def __init__(self, url: str) -> None:
        self._client = DBOSClient(system_database_url=url, application_name=APPLICATION)

    def ask(
        self,
        connection: Connection,
        workflow: str,
        key: str,
        *arguments: str | int,
        queue: str = INTAKE,
        priority: int | None = None,
        delay_s: float = 0.0,
        partition: str | None = None,
    ) -> None:
        """Enqueue `workflow` as part of the caller's transaction; `key` makes it one piece of work."""
        options: Options = {
            "workflow_name": workflow,
            "class_name": CLASS,
            "instance_name": INSTANCE,
            "queue_name": queue,
            "workflow_id": f"{workflow}:{key}",
        }
        if priority is not None:
            options["priority"] = priority
        if delay_s > 0:
            options["delay_seconds"] = delay_s
        if partition is not None:
            options["queue_partition_key"] = partition
        self._client.enqueue_in_transaction(connection, options, *arguments)

    def close(self) -> None:
        self._client.destroy()
