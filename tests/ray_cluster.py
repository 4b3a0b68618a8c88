"""Runs a Ray cluster of two nodes, with one core each, on this machine until stdin ends.

python ray_cluster.py [dashboard] [alone]
python ray_cluster.py join ADDRESS

With "alone" there is one node. Its first line is the address. A line "kill" on stdin takes the
second node away, as when its machine is switched off. "join" is one node more, for a cluster that
another call has begun.
"""

import os
import sys
from types import SimpleNamespace

# Every port on 127.0.0.1, and no word to anybody else.
os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    head = {**NODE, "include_dashboard": "dashboard" in sys.argv}
    joins = "join" in sys.argv
    cluster = Cluster(initialize_head=not joins, head_node_args=None if joins else head)
    if joins:
        cluster.head_node = SimpleNamespace(gcs_address=sys.argv[-1])
    try:
        second = None if "alone" in sys.argv else cluster.add_node(wait=not joins, **NODE)
        say(cluster.address)
        for line in sys.stdin:
            if line.strip() == "kill":
                cluster.remove_node(second, allow_graceful=False)
                say("killed")
    finally:
        if joins:
            cluster.head_node = None
        cluster.shutdown()


if __name__ == "__main__":
    main()
