//! Graphs that are none: finding cycles among dependencies and laying tasks in a line.

use std::collections::HashMap;

use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};

/// The groups of nodes that wait for one another, self-loops included, each in ascending order, the
/// groups by their first node. `edges` are `(node, on)`: `node` waits for `on`. Linear in nodes and
/// edges (Tarjan 1972).
pub fn find(nodes: usize, edges: impl IntoIterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut graph = DiGraphMap::<usize, ()>::new();
    for node in 0..nodes {
        graph.add_node(node);
    }
    for (node, on) in edges {
        graph.add_edge(node, on, ());
    }
    let mut cycles: Vec<Vec<usize>> = tarjan_scc(&graph)
        .into_iter()
        .filter(|group| 1 < group.len() || graph.contains_edge(group[0], group[0]))
        .map(|mut group| {
            group.sort_unstable();
            group
        })
        .collect();
    cycles.sort_unstable();
    cycles
}

/// One dependency per task, so that all run one after the other, ascending by priority; among
/// equals the given order stays. Returns `(task, on)`.
pub fn in_a_line(priorities: &[u8]) -> HashMap<usize, usize> {
    let mut order: Vec<usize> = (0..priorities.len()).collect();
    order.sort_by_key(|&index| priorities[index]);
    order.windows(2).map(|pair| (pair[1], pair[0])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_without_cycles_has_none() {
        assert!(find(4, [(1, 0), (2, 0), (3, 1), (3, 2)]).is_empty());
    }

    #[test]
    fn every_cycle_is_found_and_so_is_a_task_that_waits_for_itself() {
        let cycles = find(7, [(0, 1), (1, 2), (2, 0), (3, 2), (4, 4), (5, 6), (6, 5)]);

        assert_eq!(cycles, [vec![0, 1, 2], vec![4], vec![5, 6]]);
    }

    #[test]
    fn a_line_runs_from_the_first_priority_to_the_last() {
        let line = in_a_line(&[3, 1, 2, 1]);

        assert_eq!(line, HashMap::from([(3, 1), (2, 3), (0, 2)]));
    }
}
