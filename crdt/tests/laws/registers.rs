//! Registers, flags, and values that only grow.

use quorate_crdt::{Bool, DwFlag, EwFlag, GSet, Lex, LwwRegister, Max, Min, MvRegister};

use crate::specs;
use crate::steps::is_step;

quorate_crdt::laws! {
    mv_register: MvRegister<u8>, |register, tx, op| specs::change_register(register, tx, op),
        spec: specs::register, view: specs::view_register;
    lww_register: LwwRegister<u8>, |register, tx, op| register.set(tx, op.argument);
    option: Option<LwwRegister<u8>>, |option, tx, op| option.update(tx, |register, tx| {
        if op.action.is_multiple_of(2) { register.set(tx, op.argument) }
    });
    ew_flag: EwFlag, |flag, tx, op| specs::change_ew_flag(flag, tx, op),
        spec: specs::ew_flag, view: specs::view_ew_flag;
    dw_flag: DwFlag, |flag, tx, op| specs::change_dw_flag(flag, tx, op),
        spec: specs::dw_flag, view: specs::view_dw_flag;
    max: Max<u8>, |max, tx, op| max.raise(tx, op.argument),
        spec: |ops| {
            let steps = ops.iter().filter(|op| is_step(op, |seen, new| seen >= new));
            steps.map(|op| op.op.argument).max()
        },
        view: |max: &Max<u8>| max.get().copied();
    min: Min<u8>, |min, tx, op| min.lower(tx, op.argument),
        spec: |ops| {
            let steps = ops.iter().filter(|op| is_step(op, |seen, new| seen <= new));
            steps.map(|op| op.op.argument).min()
        },
        view: |min: &Min<u8>| min.get().copied();
    bool_or: Bool, |happened, tx, op| if op.action.is_multiple_of(4) { happened.raise(tx) };
    lex: Lex<u8, GSet<u8>>, |lex, tx, op| if op.action.is_multiple_of(4) {
        lex.advance(tx, op.argument);
    } else {
        lex.update(tx, |set, tx| set.add(tx, op.argument));
    };
}
