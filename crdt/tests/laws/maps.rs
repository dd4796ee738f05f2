//! Maps and pairs: values made of values.

use quorate_crdt::laws::Op;
use quorate_crdt::{EwFlag, GCounter, LwwMap, MvRegister, OrMap, OrSet, Pair, ResetCounter, RwSet};

use crate::specs;

quorate_crdt::laws! {
    map_of_registers: OrMap<u8, MvRegister<u8>>,
        |map, tx, op| specs::change_map_of_registers(map, tx, op),
        spec: specs::map_of_registers, view: specs::view_map_of_registers;
    map_of_flags: OrMap<u8, EwFlag>, |map, tx, op| specs::change_map_of_flags(map, tx, op),
        spec: specs::map_of_flags, view: specs::view_map_of_flags;
    map_of_counters: OrMap<u8, ResetCounter>,
        |map, tx, op| specs::change_map_of_counters(map, tx, op),
        spec: specs::map_of_counters, view: specs::view_map_of_counters;
    map_of_maps_of_sets: specs::Nested, |map, tx, op| specs::change_nested(map, tx, op),
        spec: specs::nested, view: specs::view_nested;
    map_of_names: OrMap<(u8, String), OrSet<(String, u8)>>, |map, tx, op| {
        let key = (op.argument % 2, "k".repeat(usize::from(op.argument) / 2 % 9));
        match op.action % 4 {
            0..3 => {
                let element = (op.argument.to_string(), op.action % 2);
                map.update(tx, key, |set, tx| set.add(tx, element));
            }
            _ => {
                map.remove(tx, &key);
            }
        }
    };
    // Several changes in one transaction, also of what the transaction itself has issued.
    transactions: specs::Nested, |map, tx, op| {
        let other = Op { action: op.action / 8, argument: op.argument.rotate_left(1) };
        specs::change_nested(map, tx, other);
        map.update(tx, op.argument % 2, |inner, tx| {
            inner.update(tx, 0, |set, tx| {
                specs::change_set(set, tx, op);
                set.add(tx, op.action);
                set.remove(tx, &op.argument);
            });
        });
        specs::change_nested(map, tx, op);
    };
    lww_map: LwwMap<u8, u8>, |map, tx, op| if op.action % 4 < 3 {
        map.set(tx, op.argument, op.action);
    } else {
        map.remove(tx, &op.argument);
    };
    pair: Pair<OrSet<u8>, GCounter>, |pair, tx, op| match op.action % 4 {
        0 => pair.first_mut(tx, |set, tx| set.add(tx, op.argument)),
        1 => pair.first_mut(tx, |set, tx| { set.remove(tx, &op.argument); }),
        _ => pair.second_mut(tx, |counter, tx| counter.increment(tx, u64::from(op.argument))),
    };
    pair_of_sets: OrMap<u8, Pair<OrSet<u8>, RwSet<u8>>>, |map, tx, op| {
        let key = op.argument % 2;
        match op.action % 4 {
            0 => map.update(tx, key, |pair, tx| {
                pair.first_mut(tx, |set, tx| set.add(tx, op.argument));
            }),
            1 => map.update(tx, key, |pair, tx| {
                pair.second_mut(tx, |set, tx| set.add(tx, op.argument));
            }),
            2 => map.update(tx, key, |pair, tx| {
                pair.second_mut(tx, |set, tx| { set.remove(tx, &op.argument); });
            }),
            _ => { map.remove(tx, &key); }
        }
    };
}
