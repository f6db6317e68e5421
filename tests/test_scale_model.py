"""The model of step times: a case by hand, what must hold whatever its numbers, and the page and picture as written."""

import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import scale_model
from scale_model import DEVICES, MACHINES, NETWORKS, Machine, Network, Step, efficiency, step

ROOT = Path(__file__).parents[1]
# Two blocks, one with experts: every number is a power of two or of ten.
HAND = Network("by hand", width=4, hidden=8, blocks=2, vocabulary=16, tokens=100, capacity=1.5)
EVEN = Machine("even", flops=1e6, share=0.5, near=1e4, far=1e3, group=2, latency=0.25, number=2)


def test_a_step_by_hand() -> None:
    # Weights met: attention 2 x 64; feed-forward 64 + 1.5 x 64; the router 4 x 16.
    # Sent: 4 x 100 tokens x 1.5 slots x 4 wide x 2 bytes = 4,800; of 4 devices 1/4 is near, 1/2 far, 1/4 at home.
    # Summed: (128 + 64 + 16 x 4) x 4 bytes, twice, less a quarter, over the far link; 2 messages one behind the other.
    assert step(EVEN, HAND, 4) == pytest.approx(
        Step(6 * 100 * 352 / 5e5, 4800 * (0.25 / 1e4 + 0.5 / 1e3) + 4 * 0.25 * 2, 2 * 256 * 4 * 0.75 / 1e3 + 1.0)
    )
    assert step(EVEN, HAND, 1) == pytest.approx(Step(0.4224, 0.0, 0.0))
    assert efficiency(EVEN, HAND, 4) == pytest.approx(0.4224 / (0.4224 + 4.52 + 2.536 - 0.2816))


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_more_devices_are_never_a_better_pace_for_each(machine: Machine, network: Network) -> None:
    paces = [efficiency(machine, network, devices) for devices in DEVICES]
    assert paces[0] == 1.0 and paces == sorted(paces, reverse=True)


def test_the_page_and_the_picture_are_what_the_tool_writes(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    assert f"\n\n{scale_model.table()}\n" in page
    (tmp_path / "scale.md").write_text(page, "utf-8")
    scale_model.write(tmp_path)
    assert (tmp_path / "scale.md").read_text("utf-8") == page
    root = xml.etree.ElementTree.fromstring((tmp_path / "scale-model.svg").read_text("utf-8"))
    words = {"".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"devices", "Switch-Base", *(machine.name for machine in MACHINES)} <= words
    assert (ROOT / "docs" / "scale-model.svg").stat().st_size < 100_000


@pytest.mark.parametrize("name", [machine.name.split(",")[0] for machine in MACHINES])
def test_the_page_names_the_machines_and_says_that_it_is_a_model(name: str) -> None:
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    assert name in page and "a model, and no measurement" in page
