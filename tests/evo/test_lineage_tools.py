"""The tools of artificial life read what a run writes, and agree with us on what they compute too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evo.lineage import Birth, Lineage
from evo.pedigree import common_ancestor

pytestmark = [  # the converter's, for a part of it that is not used here
    pytest.mark.filterwarnings("ignore:ImportWarning. ete3:UserWarning"),
    pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning"),
]


def birth(id_: int, parents: tuple[int, ...], time: int) -> Birth:
    return Birth(id=id_, parents=parents, time=time, operator="mutation", strategy='eat,\n"then" rest.', adapter="00")


def bred(founders: int, seed: int) -> Lineage:
    """Return a run of which every child has one or two parents among a quarter that survives."""
    rng, lineage, living = np.random.default_rng(seed), Lineage(), list(range(founders))
    lineage.record(birth(id_, (), 0) for id_ in living)
    for time in range(1, 12):
        kept = sorted(rng.choice(living, max(1, len(living) // 4), replace=False).tolist())
        children = range(len(lineage), len(lineage) + 12)
        couples = [rng.choice(kept, min(len(kept), int(rng.integers(1, 3))), replace=False) for _ in children]
        lineage.record(birth(id_, tuple(couple.tolist()), time) for id_, couple in zip(children, couples, strict=True))
        for id_ in set(living) - set(kept):
            lineage.bury(id_, time)
        living = [*kept, *children]
    return lineage


def tree_of(lineage: Lineage, path: Path) -> Any:
    """Return the tree as phylotrackpy has it."""
    from phylotrackpy.systematics import Systematics

    lineage.write_tree(path, extinct=False)
    tree = Systematics(lambda id_: id_)
    tree.load_from_file(str(path), "id")
    return tree


@pytest.mark.parametrize("seed", range(4))
def test_phylotrackpy_reads_the_tree_of_first_parents(tmp_path: Path, seed: int) -> None:
    lineage = bred(1, seed)
    tree = tree_of(lineage, tmp_path / "tree.csv")
    assert sorted(int(taxon.get_info()) for taxon in tree.get_active_taxa()) == lineage.living()
    mothers = {id_: birth(id_, one.parents[:1], one.time) for id_, one in lineage.births.items()}
    assert int(tree.get_mrca().get_info()) == common_ancestor(mothers, lineage.living())
    for taxon in tree.get_active_taxa():
        born = lineage.births[int(taxon.get_info())]
        assert (taxon.get_origination_time(), int(taxon.get_parent().get_info())) == (born.time, born.parents[0])


def test_phylotrackpy_measures_the_tree_as_by_hand(tmp_path: Path) -> None:
    # Founder 0; 1 and 2 are its children, 3 and 4 are 2's. Alive: 1, 3, 4.
    lineage = Lineage()
    lineage.record(birth(id_, parents, time) for id_, parents, time in ((0, (), 0), (1, (0,), 1), (2, (0,), 1)))
    lineage.record([birth(3, (2, 1), 2), birth(4, (2,), 2)])
    for id_ in (0, 2):
        lineage.bury(id_, 2)
    tree = tree_of(lineage, tmp_path / "tree.csv")
    assert (tree.get_num_active(), tree.get_num_taxa(), tree.get_num_roots()) == (3, 5, 1)
    assert (tree.mrca_depth(), tree.get_max_depth()) == (0, 2)
    assert tree.get_mean_pairwise_distance(False) == pytest.approx((3 + 3 + 2) / 3)


def test_phylotrackpy_refuses_a_second_parent(tmp_path: Path) -> None:
    """Why there is a tree of first parents; where this fails, it is no longer needed."""
    from phylotrackpy.systematics import Systematics

    lines = ["id,ancestor_list,origin_time,destruction_time", "0,[none],0,inf", "1,[none],0,inf", '2,"[0,1]",1,inf']
    (tmp_path / "two.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(RuntimeError, match="individual can only have one parent"):
        Systematics(lambda id_: id_).load_from_file(str(tmp_path / "two.csv"), "id", False)


def test_a_tree_becomes_newick(tmp_path: Path) -> None:
    import alifedata_phyloinformatics_convert as convert
    import pandas as pd

    lineage = Lineage()
    lineage.record([birth(0, (), 0), birth(1, (), 0), birth(2, (0,), 1), birth(3, (0, 1), 2), birth(4, (1,), 2)])
    lineage.write_tree(tmp_path / "tree.csv")
    trees = convert.alife_dataframe_to_dendropy_trees(pd.read_csv(tmp_path / "tree.csv"), setup_edge_lengths=True)
    assert [tree.as_string(schema="newick").split()[-1] for tree in trees] == ["(2:1,3:2)0:0;", "(4:2)1:0;"]


def test_both_parents_become_a_graph(tmp_path: Path) -> None:
    import alifedata_phyloinformatics_convert as convert
    import pandas as pd

    lineage = bred(6, 0)
    lineage.write(tmp_path / "phylogeny.csv")
    graph = convert.alife_dataframe_to_networkx_digraph(pd.read_csv(tmp_path / "phylogeny.csv"))
    assert set(graph.nodes) == set(lineage.births)
    assert {tuple(sorted(edge)) for edge in graph.edges} == {
        (parent, one.id) for one in lineage.births.values() for parent in one.parents
    }
