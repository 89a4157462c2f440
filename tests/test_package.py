"""The package as it is built, installed and set up."""

from __future__ import annotations

import ast
import os
import re
import signal
import stat
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from ros_helpers import fresh_domain

import progress_monitor

ROOT = Path(__file__).parent.parent
INSTALL = Path(os.environ['AMENT_PREFIX_PATH'].split(os.pathsep)[0])
PYTHON = f'python{sys.version_info[0]}.{sys.version_info[1]}'
# Used where it is found, and by nothing else.
OPTIONAL = {'openral_msgs'}
ROS_PACKAGE = re.compile(r'(\w+_msgs|\w+_srvs|\w+_interfaces|rclpy|cv_bridge|launch|launch_ros)$')


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding='utf-8'))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.split('.')[0] for name in names}


def environment() -> dict[str, str]:
    """The install space alone: nothing of the checkout on the path."""
    return {
        **os.environ,
        'PYTHONPATH': str(INSTALL / 'lib' / PYTHON / 'site-packages'),
        'ROS_DOMAIN_ID': str(fresh_domain()),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'OMP_NUM_THREADS': '1',
    }


def installed(name: str, *arguments: str) -> list[str]:
    return [str(INSTALL / 'lib' / 'progress_monitor' / name), *arguments]


def test_package_xml_names_every_ros_package_that_is_imported() -> None:
    root = ElementTree.parse(ROOT / 'package.xml').getroot()
    named = {str(item.text) for item in root if item.tag.endswith('depend')}
    sources = [*ROOT.glob('progress_monitor/**/*.py'), *ROOT.glob('launch/*.py')]
    used = {name for path in sources for name in imported(path) if ROS_PACKAGE.match(name)}
    assert used - OPTIONAL <= named
    assert root.findtext('version') == progress_monitor.__version__


def test_every_other_import_of_the_package_is_declared() -> None:
    """By a rosdep key where a robot has it from there, else in the requirements of pip."""
    root = ElementTree.parse(ROOT / 'package.xml').getroot()
    keys = {str(item.text) for item in root if item.tag.endswith('depend')}
    pip = {
        re.split(r'[=<>;\[ ]', line)[0].lower().replace('-', '_')
        for name in ('base', 'ml')
        for line in (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
        if line and not line.startswith('#')
    }
    rosdep = {'PIL': 'python3-pil', 'cv2': 'python3-opencv', 'yaml': 'python3-yaml'}
    undeclared = set()
    for path in ROOT.glob('progress_monitor/**/*.py'):
        for name in imported(path) - set(sys.stdlib_module_names) - {'progress_monitor'}:
            declared = rosdep.get(name, f'python3-{name}') in keys or name.lower() in pip
            if not declared and not ROS_PACKAGE.match(name):
                undeclared.add((name, str(path.relative_to(ROOT))))
    assert undeclared == set()


def test_cmake_lists_every_interface() -> None:
    listed = re.findall(
        r'^  ((?:msg|srv|action)/\w+\.\w+)$', (ROOT / 'CMakeLists.txt').read_text(), re.MULTILINE
    )
    there = {
        str(path.relative_to(ROOT))
        for kind in ('msg', 'srv', 'action')
        for path in ROOT.glob(f'{kind}/*.{kind}')
    }
    assert sorted(listed) == sorted(there)


def test_install_space_alone_holds_modules_messages_and_shared_files(tmp_path: Path) -> None:
    source = """
import progress_monitor.types, progress_monitor.ros.monitor_node
from progress_monitor.msg import Progress
from ament_index_python.packages import get_package_share_directory
print(progress_monitor.__file__)
print(get_package_share_directory('progress_monitor'))
"""
    out = subprocess.run(
        [sys.executable, '-c', source],
        env=environment(),
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout.split()
    assert all(Path(line).is_relative_to(INSTALL) for line in out)
    share = Path(out[1])
    for name in ('launch/monitor.launch.py', 'launch/demo.launch.py', 'config/monitor.yaml'):
        assert (share / name).is_file()


@pytest.mark.parametrize(
    ('name', 'parameter', 'message'),
    [
        ('supervisor_node', 'reply_timeout_s:=-1.0', 'supervisor: reply_timeout_s'),
        ('cell_node', 'fault:=nonsense', 'cell: fault'),
    ],
)
def test_installed_executables_refuse_a_bad_parameter_in_one_line(
    name: str, parameter: str, message: str, tmp_path: Path
) -> None:
    ran = subprocess.run(
        installed(name, '--ros-args', '-p', parameter),
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 2
    assert message in ran.stderr
    assert 'Traceback' not in ran.stderr


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--params-file', '/no/such.yaml'], '/no/such.yaml'),
        (['--nonsense'], '--nonsense'),
        (['-r', '__node:=two words'], '__node:=two words'),
        (['-p', 'use_sim_time:=5'], 'use_sim_time'),
    ],
)
@pytest.mark.parametrize('name', ['monitor_node', 'supervisor_node'])
def test_ros_arguments_that_cannot_be_used_are_told_in_a_line(
    name: str, arguments: list[str], said: str, tmp_path: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / 'scripts' / name), '--ros-args', *arguments],
        env={**os.environ, 'ROS_DOMAIN_ID': str(fresh_domain())},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 2
    # ROS's own C code may have said something before.
    *before, line = ran.stderr.splitlines()
    assert said in line
    assert len(before) <= 1 and 'Traceback' not in ran.stderr


def test_colcon_test_runs_something() -> None:
    text = (ROOT / 'CMakeLists.txt').read_text()
    testing = text.partition('if(BUILD_TESTING)')[2]
    named = set(re.findall(r'tests/test_\w+\.py', testing))
    assert named
    assert all((ROOT / name).is_file() for name in named)
    assert 'ament_add_pytest_test(' in testing and 'add_test(' in testing


def test_installed_monitor_starts_and_ends_on_interrupt(tmp_path: Path) -> None:
    log = tmp_path / 'log'
    command = installed('monitor_node', '--ros-args', '-p', 'stall.allowance:=-1.0')
    with log.open('wb') as output:
        child = subprocess.Popen(
            command, env=environment(), cwd=tmp_path, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 120
        while b'not configured: stall.allowance' not in log.read_bytes():
            assert child.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 0, log.read_text()
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize('version', ['3.9', '3.14'])
def test_setup_refuses_a_python_that_has_no_wheels(version: str, tmp_path: Path) -> None:
    python = tmp_path / 'python3'
    python.write_text(f'#!/bin/sh\necho {version}\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    ran = subprocess.run(
        [str(ROOT / 'scripts' / 'setup'), str(python), 'kilted'],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode != 0
    assert f'Python {version}' in ran.stderr
    assert 'make PYTHON=' in ran.stderr


def test_setup_names_the_debian_packages_that_it_cannot_install(tmp_path: Path) -> None:
    """A machine without g++, and a user who may not install anything."""
    for name in ('dirname', 'bash', 'ldconfig', 'grep'):
        found = subprocess.run(
            ['/bin/sh', '-c', f'PATH="$PATH:/sbin:/usr/sbin" command -v {name}'],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        (tmp_path / name).symlink_to(found)
    (tmp_path / 'python3').symlink_to(sys.executable)
    ran = subprocess.run(
        [str(tmp_path / 'bash'), str(ROOT / 'scripts' / 'setup'), sys.executable, 'kilted'],
        env={'PATH': str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode != 0
    assert 'Debian packages are missing' in ran.stderr
    assert 'g++' in ran.stderr


def test_make_refuses_a_distribution_that_it_cannot_set_up() -> None:
    ran = subprocess.run(
        ['make', '-C', str(ROOT), 'help', 'ROS_DISTRO=humble'],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode != 0
    assert 'kilted or jazzy' in ran.stderr
