# Sourced by bash: the environment of this checkout, its virtual environment and its built messages.
# ROS_DISTRO=jazzy takes the Jazzy environment. The virtual environment is the ROS prefix.

_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [ "${ROS_DISTRO:-kilted}" = jazzy ]; then
  _suffix=-jazzy
else
  _suffix=
fi
_venv="$_root/.venv$_suffix"
_install="$_root/ros2_ws/install$_suffix"
if [ ! -x "$_venv/bin/python" ]; then
  echo "scripts/env.sh: $_venv is missing; run make setup first" >&2
  return 1
fi
_site="$(echo "$_venv"/lib/python3.*/site-packages)"
_python="$(basename "$(dirname "$_site")")"

export VIRTUAL_ENV="$_venv"
export PATH="$_venv/bin:$PATH"
export AMENT_PREFIX_PATH="$_install/progress_monitor:$_venv"
export CMAKE_PREFIX_PATH="$_venv"
export PYTHONPATH="$_root:$_install/progress_monitor/lib/$_python/site-packages"
_libraries="$_install/progress_monitor/lib:$_venv/lib"
for _folder in "$_site"/ros_*.libs; do
  [ -d "$_folder" ] && _libraries="$_libraries:$_folder"
done
export LD_LIBRARY_PATH="$_libraries"
# The wheels start the interpreter a second time to set LD_LIBRARY_PATH unless this says it is set.
export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
# Newer Debian releases have no OSMesa any more; Mesa's EGL renders without a screen there.
if PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null | grep -q libOSMesa; then
  export MUJOCO_GL="${MUJOCO_GL:-osmesa}"
else
  export MUJOCO_GL="${MUJOCO_GL:-egl}"
fi
export PYOPENGL_PLATFORM="${PYOPENGL_PLATFORM:-$MUJOCO_GL}"
unset _root _suffix _venv _install _site _python _libraries _folder
