/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * A small network with a function that trains. */
#ifndef TESTS_NETWORK_MODEL_H
#define TESTS_NETWORK_MODEL_H

/* Two layers with relu, a running mean, dropout, and cross entropy by label; a function `train`
 * beside `forward`. */
static const char network[] =
    "gir 1\n"
    "module \"network\"\n"
    "param \"w\" : f32[4,6] trainable init [[0.5, -0.25, 0.75, 1, -1, 0.125], [1, 0.25, -0.5, 0.5, "
    "0.5, -0.75], [-1, 0.5, 0.25, -0.125, 1, 0.5], "
    "[0.25, 1, "
    "-1, 0.5, -0.5, 1]]\n"
    "param \"v\" : f32[6,3] trainable init [[1, -1, 0.5], [0.25, 0.5, -0.5], [-0.75, 1, 0.125], "
    "[0.5, 0.5, -1], [1, -0.5, 0.25], [-0.25, 0.75, 1]]\n"
    "stat \"mean\" : f32[6]\n"
    "counter \"seed\" : u64[] init 5\n"
    "counter \"calls\" : u64[]\n"
    "entry @forward( state %w : f32[4,6], state %v : f32[6,3], state %mean : f32[6], input %x : "
    "f32[5,4] ) {\n"
    "    %0 = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : f32[5,6]\n"
    "    %1 = broadcast %mean shape=[5,6] dims=[1] : f32[5,6]\n"
    "    %2 = sub %0, %1 : f32[5,6]\n"
    "    %3 = dot_general %2, %v lhs_contract=[1] rhs_contract=[0] : f32[5,3]\n"
    "    return ( output \"logits\" %3 )\n"
    "}\n"
    "func @train( state %w : f32[4,6], state %v : f32[6,3], state %mean : f32[6], state %seed : "
    "u64[], input %x : f32[5,4], input %label : i64[5], "
    "state %calls : u64[] ) {\n"
    "    %h = dot_general %x, %w lhs_contract=[1] rhs_contract=[0] : f32[5,6]\n"
    "    %sum = reduce %h combine=sum axes=[0] : f32[6]\n"
    "    %fifth_ = constant value=0.2 : f32[]\n"
    "    %fifth = broadcast %fifth_ shape=[6] dims=[] : f32[6]\n"
    "    %batch = mul %sum, %fifth : f32[6]\n"
    "    %batches = broadcast %batch shape=[5,6] dims=[1] : f32[5,6]\n"
    "    %centred = sub %h, %batches : f32[5,6]\n"
    "    %old = mul %mean, %fifth : f32[6]\n"
    "    %new = add %old, %batch : f32[6]\n"
    /* Backward needs the old mean, which forward_train changes. */
    "    %drift = broadcast %mean shape=[5,6] dims=[1] : f32[5,6]\n"
    "    %driven = mul %centred, %drift : f32[5,6]\n"
    "    %both = add %centred, %driven : f32[5,6]\n"
    "    %zero_ = constant value=0 : f32[]\n"
    "    %zero = broadcast %zero_ shape=[5,6] dims=[] : f32[5,6]\n"
    "    %above = compare %both, %zero relation=gt : bool[5,6]\n"
    "    %relu = select %above, %both, %zero : f32[5,6]\n"
    "    %bits = random_bits %seed, %calls shape=[5,6] stream=3 : u32[5,6]\n"
    "    %limit_ = constant value=1000000000 : u32[]\n"
    "    %limit = broadcast %limit_ shape=[5,6] dims=[] : u32[5,6]\n"
    "    %kept = compare %bits, %limit relation=gt : bool[5,6]\n"
    "    %dropped = select %kept, %relu, %zero : f32[5,6]\n"
    "    %logits = dot_general %dropped, %v lhs_contract=[1] rhs_contract=[0] : f32[5,3]\n"
    "    %top = reduce %logits combine=max axes=[1] : f32[5]\n"
    "    %fixed = stop_gradient %top : f32[5]\n"
    "    %tops = broadcast %fixed shape=[5,3] dims=[0] : f32[5,3]\n"
    "    %shifted = sub %logits, %tops : f32[5,3]\n"
    "    %e = exp %shifted : f32[5,3]\n"
    "    %se = reduce %e combine=sum axes=[1] : f32[5]\n"
    "    %lse = log %se : f32[5]\n"
    "    %i = reshape %label shape=[5,1] : i64[5,1]\n"
    "    %picked = gather %shifted, %i dims=[1] batch=1 : f32[5]\n"
    "    %nll = sub %lse, %picked : f32[5]\n"
    "    %loss_ = reduce %nll combine=sum axes=[0] : f32[]\n"
    "    %loss = mul %loss_, %fifth_ : f32[]\n"
    "    %one = constant value=1 : u64[]\n"
    "    %next = add %calls, %one : u64[]\n"
    "    return ( output \"loss\" %loss loss, output \"logits\" %logits, update \"mean\" %new, "
    "update \"calls\" %next )\n"
    "}\n";

#endif
