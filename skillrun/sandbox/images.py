"""Base machines and the layers of faults as images of a container engine: the same recipes, kept by the engine."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from skillrun.overlay.mount.spec import Furnishing
from skillrun.sandbox.base import BuildError, Tell, cache_directory, end_of, first_script, make_root, once, recipe_key, root_of
from skillrun.sandbox.engine import Container, Engine, EngineError, Image
from skillrun.sandbox.machine import Machine
from skillrun.sandbox.recipes import MachineRecipe, machine

_LOOKED_UP = ("etc/passwd", "etc/group", "etc/apt")


def image_of(engine: Engine, name: str, tell: Tell = lambda text: None) -> Image:
    """The image of a base machine; built now if the engine has none. Raises RecipeError, BuildError, EngineError."""
    recipe = machine(name)
    if recipe.base:
        return image_layer(image_of(engine, recipe.base, tell), recipe.setup, tell)
    return image_layer(_bare(engine, recipe, tell), first_script(recipe), tell)


def image_layer(image: Image, script: str, tell: Tell = lambda text: None) -> Image:
    """What a script that root runs makes of an image, as another image; kept by content. Raises BuildError, EngineError."""
    engine = image.engine
    tag = f"skillrun/layer:{hashlib.sha256(f'{image.tag}{script}'.encode()).hexdigest()[:16]}"

    def build() -> None:
        with Machine(image, user="root") as made:
            done = made.run(f"set -e\n{script}", root=True, env={"DEBIAN_FRONTEND": "noninteractive"}, timeout=1200)
            if done.returncode:
                raise BuildError(f"its set-up ended with {done.returncode}:\n{end_of(done.stdout)}")
            assert made.container
            _keep_files(made.container, _place(engine, tag))
            engine.commit(made.container, tag)

    return _kept(engine, tag, build)


def _bare(engine: Engine, recipe: MachineRecipe, tell: Tell) -> Image:
    """A base before its set-up: bootstrapped from a mirror, else what the engine can fetch."""
    tag = f"skillrun/{recipe.name}:{recipe_key(recipe, [])}"
    place = _place(engine, tag)

    def build() -> None:
        tell(f"{engine.name}: building the machine {recipe.name} ({recipe.measured or 'once'})")
        root = root_of(recipe)
        if root is None and (shutil.which("debootstrap") or not recipe.image):
            root = place / "root"
            make_root(recipe, root)
        if root is not None:
            engine.load(root, tag)
            shutil.rmtree(place / "root", ignore_errors=True)
        else:
            engine.fetch(recipe.image, tag)
        _keep_files(Container(Image(engine, tag, place), Furnishing(())), place, close=True)

    return _kept(engine, tag, build)


def _kept(engine: Engine, tag: str, build: Callable[[], None]) -> Image:
    place = _place(engine, tag)
    if not engine.has(tag):
        shutil.rmtree(place, ignore_errors=True)
    once(place, build)
    return Image(engine, tag, place)


def _place(engine: Engine, tag: str) -> Path:
    return cache_directory() / f"{engine.name}-{tag.replace('/', '-').replace(':', '-')}"


def _keep_files(container: Container, place: Path, close: bool = False) -> None:
    """Copy what has to be known of an image outside; missing ones are none."""
    try:
        (place / "etc").mkdir(exist_ok=True)
        for path in _LOOKED_UP:
            container.engine.copy_out(container, f"/{path}", place / path)
    except EngineError as error:
        raise BuildError(str(error)) from error
    finally:
        if close:
            container.close()
