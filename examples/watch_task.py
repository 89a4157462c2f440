"""Watch one task from a plain script: ``python watch_task.py "Put the cup on the shelf."``."""

import sys

import rclpy
from rclpy.action import ActionClient

from progress_monitor.action import MonitorTask


def wait(future):
    """What the monitor answers; the script ends if the monitor does before it."""
    while not future.done():
        rclpy.spin_once(node, timeout_sec=1.0)
        if not client.server_is_ready():
            sys.exit('the monitor is gone')
    return future.result()


rclpy.init()
node = rclpy.create_node('watch_task')
client = ActionClient(node, MonitorTask, 'progress_monitor/monitor_task')
client.wait_for_server()
goal = MonitorTask.Goal(task=sys.argv[1], stop_on_stall=True, timeout_s=600.0)
sent = client.send_goal_async(
    goal, lambda message: print(f'{message.feedback.progress:.0%} {message.feedback.step}')
)
result = wait(wait(sent).get_result_async()).result
print('done' if result.succeeded else f'error {result.error_code}: {result.error_msg}')
sys.exit(0 if result.succeeded else 1)
