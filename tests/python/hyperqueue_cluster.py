"""A HyperQueue cluster of processes, from the package `hyperqueue` of PyPI alone.

    hyperqueue_cluster.py server DIR
    hyperqueue_cluster.py worker SERVER_DIR OWN_DIR
    hyperqueue_cluster.py submit SERVER_DIR JOB.toml

The package has the server, workers and a client, but not the program `hq`. Its workers live in the process of a server; one
of another server is had by starting a server of its own, which stays idle, and pointing it to the access file of the other.
`submit` reads the job definition file as `hq job submit-file` would, refuses keys that HyperQueue's documentation does not have,
and waits for the job; its exit code is 0 if all tasks ended with 0.
"""

import os
import pathlib
import sys
import time
import tomllib

from hyperqueue import Client, Job, LocalCluster
from hyperqueue.cluster import WorkerConfig
from hyperqueue.ffi.protocol import ResourceRequest

JOB_KEYS = {"name", "max_fails", "task"}
TASK_KEYS = {
    "id", "command", "env", "request", "stdout", "stderr", "cwd", "pin", "task_dir", "time_limit", "priority", "crash_limit",
}
REQUEST_KEYS = {"n_nodes", "time_request", "resources"}


def known(table, keys):
    unknown = set(table) - keys
    assert not unknown, f"keys that HyperQueue does not know: {unknown}"
    return table


def submit(server, path):
    job = known(tomllib.loads(pathlib.Path(path).read_text()), JOB_KEYS)
    tasks = Job(name=job["name"], max_fails=None)
    for number, task in enumerate(job["task"]):
        known(task, TASK_KEYS)
        assert task["id"] == number, "the client numbers tasks itself"
        requests = []
        for request in task["request"]:
            resources = dict(known(request, REQUEST_KEYS)["resources"])
            requests.append(ResourceRequest(cpus=resources.pop("cpus"), resources=resources))
        tasks.program(
            task["command"],
            cwd=task["cwd"],
            stdout=task["stdout"],
            stderr=task["stderr"],
            task_dir=task["task_dir"],
            crash_limit=task["crash_limit"],
            resources=requests,
        )
    client = Client(server)
    submitted = client.submit(tasks)
    print("submitted", flush=True)
    done = client.wait_for_jobs([submitted], raise_on_error=False)
    if not done:
        print(client.get_failed_tasks(submitted))
    return 0 if done else 1


def worker(server, own):
    cluster = LocalCluster(own)
    link = pathlib.Path(own) / "hq-current"
    other = link.with_name("other")
    other.symlink_to((pathlib.Path(server) / "hq-current").resolve(strict=True))
    os.replace(other, link)
    cluster.start_worker(WorkerConfig(cores=1))
    return cluster


if __name__ == "__main__":
    # HyperQueue's own link is relative to where it was started.
    match sys.argv[1:2] + [os.path.abspath(path) for path in sys.argv[2:]]:
        case ["submit", server, path]:
            sys.exit(submit(server, path))
        case ["server", folder]:
            cluster = LocalCluster(folder)
        case ["worker", server, own]:
            cluster = worker(server, own)
        case _:
            sys.exit(__doc__)
    print("ready", flush=True)
    while True:
        time.sleep(3600)
