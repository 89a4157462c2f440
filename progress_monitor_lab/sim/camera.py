"""The cell's camera: a free MuJoCo camera, a little misplaced, with a sensor's noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_monitor_lab.sim.scene import Scene

NOISE_STEPS = 64
_MARKERS = {'pick_place': (0.1, 0.25, 1.0, 0.6), 'push': (0.0, 1.0, 0.2, 0.6)}


class Camera:
    """Renders a scene to (size, size, 3) uint8 RGB.

    MuJoCo draws a motionless scene bit-identically, a sensor does not: noise of 1.2 grey levels
    tells a robot that stands still from a camera that repeats itself. Shadows are left out, which
    makes rendering on a CPU three times as fast. Without ``noise`` it is a simulator's camera.
    """

    def __init__(
        self, scene: Scene, size: int, rng: np.random.Generator, noise: bool = True
    ) -> None:
        import mujoco

        model = self._model = scene.env.model
        self._data = mujoco.MjData(model)
        model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = max(size, model.vis.global_.offwidth)
        model.vis.global_.offheight = max(size, model.vis.global_.offheight)
        self._renderer = mujoco.Renderer(model, size, size)
        self._view = mujoco.MjvCamera()
        self._view.lookat[:] = np.array((0.0, 0.68, 0.12)) + rng.uniform(-0.012, 0.012, 3)
        self._view.distance = scene.task.camera_distance * rng.uniform(0.97, 1.03)
        self._view.azimuth = 215.0 + rng.uniform(-2.0, 2.0)
        self._view.elevation = -32.0 + rng.uniform(-1.5, 1.5)
        self._options = mujoco.MjvOption()
        # Meta-World's own goal sites give the goal away where nothing in the scene shows it.
        self._options.sitegroup[:] = 0
        self._marker = scene.state().target if scene.task.goal_marker else None
        self._marker_rgba = _MARKERS.get(scene.task.name, (0.0, 0.0, 0.0, 0.0))
        self._mujoco = mujoco
        self._gain = rng.uniform(0.85, 1.15)
        side = NOISE_STEPS + size
        self._noise = rng.normal(0.0, 1.2, (side, side, 3)).astype(np.float32)
        if not noise:
            self._noise[:] = 0.0
        self._rng = rng

    def picture(self, positions: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Render the scene with the joints at ``positions``, MuJoCo's (nq,) float64 ``qpos``."""
        renderer = self._renderer
        self._data.qpos[:] = positions
        self._mujoco.mj_forward(self._model, self._data)
        renderer.update_scene(self._data, self._view, self._options)
        if self._marker is not None:
            self._add_marker(renderer.scene)
        renderer.scene.flags[self._mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        renderer.scene.flags[self._mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        image = renderer.render().astype(np.float32)
        row, column = self._rng.integers(0, NOISE_STEPS, 2)
        size = image.shape[0]
        image *= self._gain
        image += self._noise[row : row + size, column : column + size]
        return np.clip(image, 0.0, 255.0).astype(np.uint8)

    def _add_marker(self, scene: Any) -> None:
        self._mujoco.mjv_initGeom(
            scene.geoms[scene.ngeom],
            self._mujoco.mjtGeom.mjGEOM_SPHERE,
            np.array([0.022, 0.0, 0.0]),
            self._marker,
            np.eye(3).ravel(),
            np.array(self._marker_rgba, np.float32),
        )
        scene.ngeom += 1

    def close(self) -> None:
        """Give the renderer back."""
        self._renderer.close()
