"""Runs a Ray cluster of two nodes, with one core each, on this machine until stdin ends.

python ray_cluster.py [dashboard]

Its first line is the address. A line "kill" on stdin takes the second node away, as when its
machine is switched off.
"""

import os
import sys

# Every port on 127.0.0.1, and no word to anybody else.
os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    head = {**NODE, "include_dashboard": "dashboard" in sys.argv}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        second = cluster.add_node(**NODE)
        say(cluster.address)
        for line in sys.stdin:
            if line.strip() == "kill":
                cluster.remove_node(second, allow_graceful=False)
                say("killed")
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
