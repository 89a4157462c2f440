"""A behaviour tree of one's own in the supervisor's place: replans on a stall, ends on success."""

import rclpy
from py_trees.behaviours import Running
from py_trees.common import Status
from py_trees.composites import Selector, Sequence
from py_trees.trees import BehaviourTree

from progress_monitor.ros.behaviours import Acknowledge, IsStalled, IsSucceeded, Replan


def make_root() -> Selector:
    """Success first; else, at a stall, replan and tell the monitor; else go on."""
    recover = Sequence('recover', memory=True)
    recover.add_children([IsStalled(), Replan(service='/robot/replan'), Acknowledge()])
    root = Selector('task', memory=False)
    root.add_children([IsSucceeded(), recover, Running('carry on')])
    return root


def main() -> None:
    """Tick the tree at 10 Hz until the task has succeeded."""
    rclpy.init()
    node = rclpy.create_node('own_tree')
    tree = BehaviourTree(make_root())
    tree.setup(node=node)
    node.create_timer(0.1, tree.tick)
    while tree.root.status is not Status.SUCCESS:
        rclpy.spin_once(node)
    print('the task has succeeded')


if __name__ == '__main__':
    main()
