/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Text to IR; see docs/text-form.md. First all states and the heads of all functions are read, then
 * the bodies, a called function before its caller; so functions may come in any order. After an
 * error the parser continues at the next line; a value whose instruction was refused stays known as
 * refused, and its uses are skipped silently. */
#include "ir/parser.h"

#include <string.h>

/* Continuing would only cost time. */
static bool too_many(const ir_parser *p)
{
    return p->wrong.count >= BASE_MAX_DIAGNOSTICS;
}

/* ---- Values ---- */

static bool is_number_label(const ir_token *t)
{
    return !t->quoted && t->text[0] >= '0' && t->text[0] <= '9';
}

static ir_named *find_label(const ir_parser *p, const ir_body *b, const ir_token *t)
{
    if (is_number_label(t))
        return base_map_get(&b->numbers, t->text, t->n);
    const char *wrong, *name = t->quoted ? ir_lex_text(t, p->scratch, &wrong) : NULL;
    return t->quoted ? name ? base_map_get_text(&b->names, name) : NULL
                     : base_map_get(&b->names, t->text, t->n);
}

/* Defines a label; the value's raw name is the label or the string after it. */
static bool define(ir_parser *p, ir_body *b, const ir_token *t, ir_value *v)
{
    ir_named *old = find_label(p, b, t);
    if (old)
        return ir_parse_error(p, t, "%s is defined twice; first in line %d",
                              ir_lex_found(t, p->scratch), old->line);
    ir_named *n = base_new(p->scratch, ir_named);
    *n = (ir_named){v, t->line};
    if (is_number_label(t)) {
        base_map_put(&b->numbers, t->text, t->n, n);
        return true;
    }
    const char *name = ir_name_of(p, t);
    if (name)
        base_map_put_text(&b->names, name, n);
    return name != NULL;
}

/* A value that is in scope, or NULL in *out if its instruction was refused. */
static bool need_value(ir_parser *p, const ir_body *b, ir_value **out)
{
    *out = NULL;
    if (TOKEN->kind != IR_TOK_VALUE)
        return ir_expected(p, "a value");
    const ir_named *n = find_label(p, b, TOKEN);
    if (!n)
        return ir_parse_error(p, TOKEN, "%s is not defined before this line",
                              ir_lex_found(TOKEN, p->scratch));
    *out = n->value;
    ir_next(p);
    return true;
}

/* ---- Instructions ---- */

typedef struct label {
    ir_token token;
    const char *name; /* raw name of the value, or NULL */
} label;

typedef struct line { /* an instruction as written */
    BASE_LIST(label) labels;
    BASE_LIST(ir_value *) operands;
    BASE_LIST(ir_type) types;
    ir_op op;
    ir_attrs attrs;
    uint32_t given;   /* attributes, a bit each */
    bool poisoned;    /* uses a value that was refused */
    ir_lexer literal; /* position of the literal attribute */
    ir_token op_token, type_token;
    ir_phase phase;
    base_loc loc;
    bool has_loc, has_primal;
    ir_later primal;
} line;

static bool read_body(ir_parser *p, ir_body *b, const ir_token *from);

/* The function that an attribute names, its body read. */
static bool need_func(ir_parser *p, line *l, ir_func **out)
{
    const ir_token at = p->lex.token;
    if (at.kind != IR_TOK_FUNC)
        return ir_expected(p, "a function");
    const char *wrong, *name = ir_lex_text(&at, p->scratch, &wrong);
    ir_body *b = name ? base_map_get_text(&p->funcs, name) : NULL;
    ir_next(p);
    if (!b)
        return ir_parse_error(p, &at, "unknown function %s", ir_lex_found(&at, p->scratch));
    if (!read_body(p, b, &at))
        return false;
    l->poisoned |= b->failed;
    *out = b->func;
    return true;
}

static bool read_attr_value(ir_parser *p, line *l, const ir_attr_info *info, void *field)
{
    int choice;
    const char *wrong;
    switch (info->kind) {
    case IR_ATTR_int: return ir_need_int(p, field);
    case IR_ATTR_ints: return ir_need_ints(p, field);
    case IR_ATTR_dtype: return ir_need_dtype(p, field);
    case IR_ATTR_accumulator:
        if (!ir_need_dtype(p, field))
            return false;
        return *(ir_dtype *)field != IR_BOOL ||
               ir_parse_error(p, &l->op_token, "bool is not an accumulator type");
    case IR_ATTR_func: return need_func(p, l, field);
    case IR_ATTR_float:
        wrong = ir_read_element(IR_F64, TOKEN->text, TOKEN->n, field);
        if (wrong)
            return ir_expected(p, "a number");
        ir_next(p);
        return true;
    case IR_ATTR_literal:
        l->literal = p->lex;
        return ir_skip_literal(p);
    case IR_ATTR_relation:
    case IR_ATTR_combine:
        if (!ir_need_choice(
                p, info->kind == IR_ATTR_relation ? ir_relation_names : ir_combine_names, &choice))
            return false;
        if (info->kind == IR_ATTR_relation)
            *(ir_relation *)field = (ir_relation)choice;
        else
            *(ir_combine *)field = (ir_combine)choice;
        return true;
    }
    BUG("attribute kind %d", info->kind);
}

static bool unknown_attr(ir_parser *p, const ir_op_info *info)
{
    const char *all = info->nattrs ? "" : "none";
    for (int i = 0; i < info->nattrs; i++)
        all = base_format(p->scratch, "%s%s%s", all, i ? ", " : "", info->attr[i].name);
    return ir_parse_error(p, TOKEN, "`%s` has no attribute %s; it has %s", info->name,
                          ir_lex_found(TOKEN, p->scratch), all);
}

/* Empty lists, zeros and functions may be left out; the kinds that have no such value may not. */
static bool check_attrs(ir_parser *p, const line *l)
{
    const ir_op_info *info = &ir_ops[l->op];
    for (int i = 0; i < info->nattrs; i++) {
        ir_attr_kind k = info->attr[i].kind;
        bool optional = k != IR_ATTR_dtype && k != IR_ATTR_relation && k != IR_ATTR_combine &&
                        k != IR_ATTR_literal;
        if (!optional && !(l->given >> i & 1))
            return ir_parse_error(p, &l->op_token, "`%s` lacks the attribute `%s`", info->name,
                                  info->attr[i].name);
    }
    return true;
}

static bool read_attrs(ir_parser *p, line *l)
{
    const ir_op_info *info = &ir_ops[l->op];
    while (TOKEN->kind == IR_TOK_WORD) {
        int i = 0;
        while (i < info->nattrs && !ir_is_a(p, info->attr[i].name))
            i++;
        if (i == info->nattrs)
            return unknown_attr(p, info);
        if (l->given >> i & 1)
            return ir_parse_error(p, TOKEN, "%s is given twice", ir_lex_found(TOKEN, p->scratch));
        l->given |= 1u << i;
        ir_next(p);
        if (!ir_need(p, '=') ||
            !read_attr_value(p, l, &info->attr[i], (char *)&l->attrs + info->attr[i].offset))
            return false;
    }
    return check_attrs(p, l);
}

static bool read_operands(ir_parser *p, const ir_body *b, line *l)
{
    if (TOKEN->kind != IR_TOK_VALUE)
        return true;
    do {
        ir_value *v;
        if (!need_value(p, b, &v))
            return false;
        l->poisoned |= !v;
        BASE_PUSH(p->scratch, &l->operands, v);
    } while (ir_take(p, ','));
    return true;
}

static bool read_labels(ir_parser *p, line *l)
{
    if (TOKEN->kind != IR_TOK_VALUE)
        return true;
    do {
        label r = {.token = *TOKEN};
        if (TOKEN->kind != IR_TOK_VALUE)
            return ir_expected(p, "a value");
        ir_next(p);
        if (!is_number_label(&r.token))
            r.name = ir_name_of(p, &r.token);
        else if (TOKEN->kind == IR_TOK_STRING && !ir_need_string(p, &r.name))
            return false;
        BASE_PUSH(p->scratch, &l->labels, r);
    } while (ir_take(p, ','));
    return ir_need(p, '=');
}

static bool read_primal(ir_parser *p, ir_body *b, line *l)
{
    l->has_primal = true;
    l->primal = (ir_later){.where = b};
    if (TOKEN->kind == IR_TOK_FUNC) {
        l->primal.func = *TOKEN;
        ir_next(p);
    }
    if (TOKEN->kind != IR_TOK_VALUE)
        return ir_expected(p, "a value");
    l->primal.name = *TOKEN;
    ir_next(p);
    return true;
}

static bool need_small(ir_parser *p, int *out)
{
    const ir_token at = *TOKEN;
    int64_t v;
    if (!ir_need_int(p, &v))
        return false;
    *out = (int)v;
    return (v >= 0 && v <= INT32_MAX) || ir_parse_error(p, &at, "out of range");
}

static bool read_origin(ir_parser *p, line *l)
{
    l->has_loc = true;
    if (ir_take_word(p, "node"))
        return need_small(p, &l->loc.node);
    if (ir_take_word(p, "op"))
        return ir_need_string(p, &l->loc.op);
    if (ir_take_word(p, "name"))
        return ir_need_string(p, &l->loc.name);
    if (ir_take_word(p, "file")) {
        bool ok = ir_need_string(p, &l->loc.file);
        l->loc.file = ok && *l->loc.file ? l->loc.file : NULL;
        return ok;
    }
    if (ir_take_word(p, "line"))
        return need_small(p, &l->loc.line) && ir_need(p, ':') && need_small(p, &l->loc.column);
    return ir_expected(p, "one of forward, backward, update, of, node, op, name, file, line");
}

/* `! backward of %3 node 17 op "Conv" …` */
static bool read_annotations(ir_parser *p, ir_body *b, line *l)
{
    l->loc = (base_loc){.file = p->source, .node = -1};
    if (!ir_take(p, '!'))
        return true;
    while (TOKEN->kind == IR_TOK_WORD) {
        bool ok = true;
        if (ir_take_word(p, "forward"))
            l->phase = IR_FORWARD;
        else if (ir_take_word(p, "backward"))
            l->phase = IR_BACKWARD;
        else if (ir_take_word(p, "update"))
            l->phase = IR_UPDATE;
        else if (ir_take_word(p, "of"))
            ok = read_primal(p, b, l);
        else
            ok = read_origin(p, l);
        if (!ok)
            return false;
    }
    return true;
}

static bool read_types(ir_parser *p, line *l)
{
    if (!l->labels.count && !ir_is(p, ':'))
        return true;
    if (!ir_need(p, ':'))
        return false;
    l->type_token = *TOKEN;
    do {
        ir_type t;
        if (!ir_need_type(p, &t))
            return false;
        BASE_PUSH(p->scratch, &l->types, t);
    } while (ir_take(p, ','));
    return true;
}

/* The literal attribute, now that the type is known. */
static bool read_deferred_literal(ir_parser *p, line *l)
{
    const ir_op_info *info = &ir_ops[l->op];
    for (int i = 0; i < info->nattrs; i++) {
        if (info->attr[i].kind != IR_ATTR_literal)
            continue;
        if (l->types.count != 1)
            return ir_parse_error(p, &l->op_token, "`%s` must have exactly one result type",
                                  info->name);
        ir_lexer back = p->lex;
        p->lex = l->literal;
        bool ok = ir_need_literal(p, &l->types.items[0],
                                  (ir_literal **)((char *)&l->attrs + info->attr[i].offset));
        p->lex = back;
        if (!ok)
            return false;
    }
    return true;
}

static bool read_line(ir_parser *p, ir_body *b, line *l)
{
    if (!read_labels(p, l))
        return false;
    l->op_token = *TOKEN;
    if (TOKEN->kind != IR_TOK_WORD)
        return ir_expected(p, "an operation");
    char name[32];
    snprintf(name, sizeof name, "%.*s", TOKEN->n < sizeof name ? (int)TOKEN->n : 0, TOKEN->text);
    if (!ir_op_by_name(name, &l->op))
        return ir_parse_error(p, TOKEN, "unknown operation %s", ir_lex_found(TOKEN, p->scratch));
    ir_next(p);
    if (!read_operands(p, b, l) || !read_attrs(p, l) || !read_types(p, l) ||
        !read_deferred_literal(p, l) || !read_annotations(p, b, l))
        return false;
    return TOKEN->kind == IR_TOK_NEWLINE || TOKEN->kind == IR_TOK_END ||
           ir_expected(p, "the end of the line");
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* Consecutive instructions mostly come from one node: they share its location. */
static const base_loc *keep_loc(ir_parser *p, const base_loc *loc)
{
    const base_loc *o = p->loc;
    if (!o || o->node != loc->node || o->line != loc->line || o->column != loc->column ||
        !same_text(o->file, loc->file) || !same_text(o->name, loc->name) ||
        !same_text(o->op, loc->op))
        p->loc = base_memdup(p->arena, loc, sizeof *loc);
    return p->loc;
}

/* Builds what was read; its type must be the one that is written. NULL if refused. */
static ir_inst *build_line(ir_parser *p, ir_body *b, line *l)
{
    ir_builder builder = ir_builder_new(b->func);
    char source[IR_SOURCE_BYTES + 1];
    base_loc at = {.file = p->file,
                   .node = -1,
                   .line = l->op_token.line,
                   .column = l->op_token.column,
                   .source = ir_source_line(p, &l->op_token, source)};
    builder.phase = l->phase;
    builder.loc = &at;
    ir_inst *inst = ir_build(&builder, l->op, l->operands.items, l->operands.count, &l->attrs);
    if (!inst)
        return NULL;
    at.source = NULL; /* it points into this frame */
    inst->loc = keep_loc(p, l->has_loc ? &l->loc : &at);
    bool ok = inst->nresults == l->labels.count && inst->nresults == l->types.count;
    if (!ok)
        ir_parse_error(p, &l->op_token, "`%s` has %d results here, got %d names and %d types",
                       ir_ops[l->op].name, inst->nresults, l->labels.count, l->types.count);
    for (int i = 0; ok && i < inst->nresults; i++)
        if (!ir_type_eq(&inst->result[i]->type, &l->types.items[i])) {
            ok = ir_parse_error(p, &l->type_token, "result %d has type %s, found %s", i,
                                ir_type_text(p->scratch, &inst->result[i]->type),
                                ir_type_text(p->scratch, &l->types.items[i]));
        }
    return inst;
}

static void read_inst(ir_parser *p, ir_body *b)
{
    line l;
    memset(&l, 0, sizeof l);
    ir_inst *inst = NULL;
    if (!read_line(p, b, &l)) {
        ir_lex_skip_line(&p->lex);
        b->failed = true;
    } else if (++p->insts > IR_MAX_NODES) {
        ir_parse_limit(p, &l.op_token, "instructions", IR_MAX_NODES);
    } else if (!l.poisoned) {
        inst = build_line(p, b, &l);
        b->failed |= !inst;
    }
    for (int i = 0; i < l.labels.count; i++) {
        ir_value *v = inst && i < inst->nresults ? inst->result[i] : NULL;
        if (v)
            v->name = l.labels.items[i].name;
        define(p, b, &l.labels.items[i].token, v);
    }
    if (inst && l.has_primal) {
        l.primal.inst = inst;
        BASE_PUSH(p->scratch, &p->later, l.primal);
    }
}

/* ---- Functions ---- */

/* `dims(batch, _)` of a value of that rank; nothing: NULL. */
static bool read_dims(ir_parser *p, int rank, const char *const **out)
{
    const ir_token at = *TOKEN;
    *out = NULL;
    if (!ir_take_word(p, "dims"))
        return true;
    if (!ir_need(p, '('))
        return false;
    const char **names = base_array(p->arena, const char *, rank);
    for (int i = 0; i < rank; i++) {
        if (i && !ir_need(p, ','))
            return false;
        if (TOKEN->kind != IR_TOK_WORD && TOKEN->kind != IR_TOK_STRING)
            return ir_expected(
                p, base_format(p->scratch, "the name of each of %d dimensions, or `_`", rank));
        if (!ir_is_a(p, "_") && !(names[i] = ir_name_of(p, TOKEN)))
            return false;
        ir_next(p);
    }
    *out = names;
    return ir_take(p, ')') || ir_parse_error(p, &at, "`dims` must name exactly %d dimension%s",
                                             rank, rank == 1 ? "" : "s");
}

static bool read_param(ir_parser *p, ir_body *b)
{
    static const char *const words[] = {"input", "gradient", "hyper"};
    bool keyword = false, state = ir_take_word(p, "state");
    ir_port port = {.bind = state ? IR_STATE : IR_INPUT};
    for (int i = 0; i < 3 && !state && !keyword; i++)
        if ((keyword = ir_take_word(p, words[i])))
            port.role = (ir_role)i;
    const ir_token at = *TOKEN;
    const char *name = NULL;
    ir_type type;
    if (at.kind != IR_TOK_VALUE)
        return ir_expected(p, "a parameter");
    ir_next(p);
    if (!is_number_label(&at)) {
        if (!(name = ir_name_of(p, &at)))
            return false;
    } else if (TOKEN->kind == IR_TOK_STRING && !ir_need_string(p, &name)) {
        return false;
    }
    if (!ir_need(p, ':') || !ir_need_type(p, &type))
        return false;
    if (state) {
        port.state = name ? base_map_get_text(&p->states, name) : NULL;
        if (!port.state)
            return ir_parse_error(p, &at, "unknown state");
        if (!ir_type_eq(&port.state->type, &type))
            return ir_parse_error(p, &at, "the state has type %s, found %s",
                                  ir_type_text(p->scratch, &port.state->type),
                                  ir_type_text(p->scratch, &type));
    }
    port.value = ir_add_input(b->func, NULL, &type);
    port.value->name = state ? port.state->name : name;
    port.name = keyword ? name : NULL;
    if (!define(p, b, &at, port.value) || !read_dims(p, type.rank, &port.dim_names))
        return false;
    b->func->params.items[b->func->params.count - 1] = port;
    return true;
}

static bool read_params(ir_parser *p, ir_body *b)
{
    if (!ir_need(p, '('))
        return false;
    while (!ir_is(p, ')')) {
        if (!read_param(p, b))
            return false;
        if (b->func->params.count > IR_MAX_NODES)
            ir_parse_limit(p, TOKEN, "parameters", IR_MAX_NODES);
        if (!ir_take(p, ',') && !ir_is(p, ')'))
            return ir_expected(p, "`,` or `)`");
    }
    return ir_need(p, ')') && ir_need(p, '{');
}

static bool read_result(ir_parser *p, ir_body *b)
{
    static const char *const words[] = {"output", "gradient", "hyper"};
    bool keyword = false, update = ir_take_word(p, "update");
    ir_port port = {.bind = update ? IR_STATE : IR_INPUT};
    for (int i = 0; i < 3 && !update && !keyword; i++)
        if ((keyword = ir_take_word(p, words[i])))
            port.role = (ir_role)i;
    const ir_token at = *TOKEN;
    if ((update || (keyword && at.kind == IR_TOK_STRING)) && !ir_need_string(p, &port.name))
        return false;
    if (update) {
        port.state = base_map_get_text(&p->states, port.name);
        if (!port.state)
            return ir_parse_error(p, &at, "unknown state");
        port.name = NULL;
    }
    const ir_token where = *TOKEN;
    if (!need_value(p, b, &port.value))
        return false;
    if (update && port.value && !ir_type_eq(&port.state->type, &port.value->type))
        return ir_parse_error(p, &where, "the state has type %s, found %s",
                              ir_type_text(p->scratch, &port.state->type),
                              ir_type_text(p->scratch, &port.value->type));
    if (ir_is_a(p, "loss") && b->func->loss >= 0)
        return ir_parse_error(p, TOKEN, "the function already has a loss");
    if (ir_take_word(p, "loss"))
        b->func->loss = b->func->results.count;
    if (!port.value) { /* refused and reported already */
        b->failed = true;
        return true;
    }
    if (!read_dims(p, port.value->type.rank, &port.dim_names))
        return false;
    BASE_PUSH(p->arena, &b->func->results, port);
    return true;
}

static bool read_results(ir_parser *p, ir_body *b)
{
    ir_next(p); /* `return` */
    bool bracket = ir_take(p, '(');
    while (bracket ? !ir_is(p, ')') : TOKEN->kind != IR_TOK_NEWLINE) {
        if (!read_result(p, b))
            return false;
        if (!ir_take(p, ',') && !(bracket ? ir_is(p, ')') : TOKEN->kind == IR_TOK_NEWLINE))
            return ir_expected(p, bracket ? "`,` or `)`" : "`,` or the end of the line");
    }
    if (bracket)
        ir_next(p);
    while (TOKEN->kind == IR_TOK_NEWLINE)
        ir_next(p);
    return ir_is(p, '}') || ir_expected(p, "`}` after the return");
}

/* Reads the body unless that was done; `from` is the token that names it (for messages). The
 * lexer's position is restored. */
static bool read_body(ir_parser *p, ir_body *b, const ir_token *from)
{
    if (b->state == READ)
        return true;
    if (b->state == READING)
        return ir_parse_error(p, from, "%s calls itself", ir_lex_found(from, p->scratch));
    if (p->depth >= IR_MAX_DEPTH)
        return ir_parse_error(p, from, "calls are nested more than %d deep", IR_MAX_DEPTH);
    ir_lexer back = p->lex;
    b->state = READING;
    p->depth++;
    p->lex = b->at;
    while (!too_many(p)) {
        if (TOKEN->kind == IR_TOK_NEWLINE) {
            ir_next(p);
        } else if (ir_is(p, '}') || TOKEN->kind == IR_TOK_END) {
            b->failed |= !ir_expected(p, "an instruction or `return`");
            break;
        } else if (ir_is_a(p, "return")) {
            b->failed |= !read_results(p, b);
            break;
        } else {
            read_inst(p, b);
        }
    }
    p->lex = back;
    p->depth--;
    b->state = READ;
    return true;
}

static void skip_body(ir_parser *p)
{
    while (!ir_is(p, '}') && TOKEN->kind != IR_TOK_END)
        ir_next(p);
}

/* `@f(…) {` of a function, NULL if its name is wrong. */
static ir_body *read_name(ir_parser *p, bool entry)
{
    const ir_token at = *TOKEN;
    if (at.kind != IR_TOK_FUNC) {
        ir_expected(p, "the function's name");
        return NULL;
    }
    const char *name = ir_name_of(p, &at);
    if (!name)
        return NULL;
    if (base_map_get_text(&p->funcs, name)) {
        ir_parse_error(p, &at, "a function of this name is already defined");
        return NULL;
    }
    if (p->m->funcs.count >= IR_MAX_FUNCS)
        ir_parse_limit(p, &at, "functions", IR_MAX_FUNCS);
    ir_next(p);
    ir_body *b = base_new(p->scratch, ir_body);
    b->func = ir_func_new(p->m, name);
    b->func->entry = entry;
    b->names = b->numbers = base_map_new(p->scratch);
    base_map_put_text(&p->funcs, b->func->name, b);
    return b;
}

/* The head of a function; the body is only skipped. The body of a wrong head is not read: it would
 * only repeat the errors. */
static bool read_head(ir_parser *p)
{
    bool entry = ir_is_a(p, "entry");
    ir_next(p);
    ir_body *b = read_name(p, entry);
    bool ok = b && read_params(p, b);
    if (ok)
        b->at = p->lex;
    else
        ir_lex_skip_line(&p->lex);
    skip_body(p);
    bool ends = ir_take(p, '}');
    if (b && (!ok || !ends)) {
        b->failed = true;
        b->state = READ;
    }
    return ends || !ok || ir_expected(p, "`}` at the end of the function");
}

/* ---- Modules ---- */

static bool read_state(ir_parser *p, ir_state_kind kind)
{
    const char *name;
    ir_type type;
    ir_next(p);
    const ir_token at = *TOKEN;
    if (!ir_need_string(p, &name) || !ir_need(p, ':') || !ir_need_type(p, &type))
        return false;
    if (base_map_get_text(&p->states, name))
        return ir_parse_error(p, &at, "a state of this name is already defined");
    if (p->m->states.count >= IR_MAX_NODES)
        ir_parse_limit(p, &at, "states", IR_MAX_NODES);
    ir_state *s = ir_state_new(p->m, name, kind, &type);
    base_map_put_text(&p->states, s->name, s);
    while (TOKEN->kind == IR_TOK_WORD) {
        if (ir_take_word(p, "trainable")) {
            s->trainable = true;
        } else if (ir_take_word(p, "why")) {
            if (!ir_need_string(p, &s->why))
                return false;
        } else if (ir_take_word(p, "init")) {
            if (!ir_need_literal(p, &type, &s->init))
                return false;
        } else if (ir_take_word(p, "of")) {
            ir_later l = {.state = s, .name = *TOKEN};
            if (TOKEN->kind != IR_TOK_STRING)
                return ir_expected(p, "a state's name");
            ir_next(p);
            BASE_PUSH(p->scratch, &p->later, l);
        } else {
            return ir_expected(p, "one of trainable, of, why, init");
        }
    }
    return true;
}

static bool read_item(ir_parser *p)
{
    if (ir_is_a(p, "func") || ir_is_a(p, "entry"))
        return read_head(p);
    for (int i = 0; ir_state_kind_names[i]; i++)
        if (ir_is_a(p, ir_state_kind_names[i]))
            return read_state(p, (ir_state_kind)i);
    if (ir_take_word(p, "module"))
        return ir_need_string(p, &p->m->name);
    if (ir_take_word(p, "source"))
        return ir_need_string(p, &p->source);
    return ir_expected(
        p, "one of module, source, param, stat, slot, counter, grad, saved, func, entry");
}

static void read_items(ir_parser *p)
{
    while (TOKEN->kind != IR_TOK_END && !too_many(p)) {
        if (TOKEN->kind == IR_TOK_NEWLINE)
            ir_next(p);
        else if (!read_item(p))
            ir_lex_skip_line(&p->lex);
        else if (TOKEN->kind != IR_TOK_NEWLINE && TOKEN->kind != IR_TOK_END) {
            ir_expected(p, "the end of the line");
            ir_lex_skip_line(&p->lex);
        }
    }
}

static void resolve(ir_parser *p, const ir_later *l)
{
    const char *wrong;
    if (l->state) {
        const char *name = ir_lex_text(&l->name, p->scratch, &wrong);
        l->state->of = name ? base_map_get_text(&p->states, name) : NULL;
        if (!l->state->of)
            ir_parse_error(p, &l->name, "unknown state");
        return;
    }
    const ir_body *b = l->where;
    if (l->func.kind == IR_TOK_FUNC) {
        const char *name = ir_lex_text(&l->func, p->scratch, &wrong);
        b = name ? base_map_get_text(&p->funcs, name) : NULL;
    }
    const ir_named *n = b ? find_label(p, b, &l->name) : NULL;
    if (n && !n->value)
        return;
    if (!n || !n->value->def)
        ir_parse_error(p, &l->name, "no instruction defines this value");
    else
        l->inst->primal = n->value->def;
}

static bool read_version(ir_parser *p)
{
    while (TOKEN->kind == IR_TOK_NEWLINE)
        ir_next(p);
    int64_t version;
    if (!ir_take_word(p, "gir"))
        return ir_parse_error(p, TOKEN, "not gradc's text form: the first line must be `gir %d`",
                              IR_TEXT_VERSION);
    const ir_token at = *TOKEN;
    return ir_need_int(p, &version) &&
           (version == IR_TEXT_VERSION ||
            ir_parse_error(p, &at, "version %lld of the text form is not supported; expected %d",
                           (long long)version, IR_TEXT_VERSION));
}

static ir_module *parse(ir_parser *p, const char *text, size_t size)
{
    int errors = base_error_count(p->ctx);
    p->m = ir_module_new(p->ctx, p->arena, "");
    p->states = p->funcs = p->side = base_map_new(p->scratch);
    p->lex = ir_lex_start(text, size);
    if (!read_version(p))
        return NULL;
    read_items(p);
    for (int i = 0; i < p->m->funcs.count; i++) {
        const ir_token none = *TOKEN;
        read_body(p, base_map_get_text(&p->funcs, p->m->funcs.items[i]->name), &none);
    }
    for (int i = 0; i < p->later.count; i++)
        resolve(p, &p->later.items[i]);
    return !p->wrong.count && base_error_count(p->ctx) == errors && ir_verify_user(p->m) ? p->m
                                                                                         : NULL;
}

ir_module *ir_parse(base_ctx *ctx, base_arena *arena, const char *text, size_t size,
                    const char *file, const ir_side_source *side)
{
    if ((int64_t)size > IR_MAX_TEXT_BYTES) {
        base_report(ctx, BASE_ERROR, &(base_loc){.file = file, .node = -1},
                    "the text is larger than the limit of %lld bytes",
                    (long long)IR_MAX_TEXT_BYTES);
        return NULL;
    }
    ir_parser p = {.ctx = ctx,
                   .arena = arena,
                   .scratch = base_arena_new(ctx),
                   .file = base_strdup(arena, file),
                   .source_of_side = side};
    ir_module *m = parse(&p, text, size);
    ir_parse_report(&p);
    base_arena_free(p.scratch);
    return m;
}
