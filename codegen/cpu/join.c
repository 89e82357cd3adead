/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Joins relocatable objects into one: ELF, 64 bits, little-endian, as LLVM writes them. Sections
 * are kept as they are, one after the other, even those of the same name; only the symbol table is
 * new. A hidden symbol that one object defines for the others becomes local, so that the result
 * does not show that it was joined. */
#include "codegen/target.h"
#include "base/map.h"

#include <elf.h>
#include <string.h>

#ifndef SHT_LLVM_ADDRSIG
#define SHT_LLVM_ADDRSIG 0x6fff4c03
#endif

typedef struct input {
    const char *bytes;
    const Elf64_Ehdr *head;
    const Elf64_Shdr *section;
    const Elf64_Sym *symbol;
    const char *names;       /* of symbols and of sections: LLVM keeps one table */
    uint32_t nsections, nsymbols;
    uint32_t *section_to;    /* numbers in the result; 0: left out */
    uint32_t *symbol_to;
} input;

typedef struct joining {
    base_arena *arena;
    input *in;
    int n;
    BASE_LIST(Elf64_Shdr) section;
    BASE_LIST(const char *) content; /* of each section; NULL: none */
    BASE_LIST(Elf64_Sym) symbol;
    uint32_t locals;
    BASE_LIST(char) names;
    base_map defined;                /* name -> the number of its symbol */
} joining;

static uint32_t add_name(joining *j, const char *name)
{
    uint32_t at = (uint32_t)j->names.count;
    if (!*name)
        return 0;
    for (size_t i = 0; i <= strlen(name); i++)
        BASE_PUSH(j->arena, &j->names, name[i]);
    return at;
}

static void open_input(input *in, base_arena *arena, const char *bytes)
{
    in->bytes = bytes;
    in->head = (const Elf64_Ehdr *)bytes;
    BUG_UNLESS(!memcmp(in->head->e_ident, ELFMAG, SELFMAG) &&
               in->head->e_ident[EI_CLASS] == ELFCLASS64 &&
               in->head->e_ident[EI_DATA] == ELFDATA2LSB);
    in->section = (const Elf64_Shdr *)(bytes + in->head->e_shoff);
    /* There are too few sections for extended numbering. */
    BUG_UNLESS(in->head->e_shnum && in->head->e_shstrndx < in->head->e_shnum);
    in->nsections = in->head->e_shnum;
    in->names = bytes + in->section[in->head->e_shstrndx].sh_offset;
    in->section_to = base_array(arena, uint32_t, in->nsections);
    for (uint32_t i = 0; i < in->nsections; i++) {
        BUG_UNLESS(in->section[i].sh_type != SHT_REL && in->section[i].sh_type != SHT_GROUP &&
                   in->section[i].sh_type != SHT_SYMTAB_SHNDX);
        if (in->section[i].sh_type != SHT_SYMTAB)
            continue;
        in->symbol = (const Elf64_Sym *)(bytes + in->section[i].sh_offset);
        in->nsymbols = (uint32_t)(in->section[i].sh_size / sizeof *in->symbol);
    }
    in->symbol_to = base_array(arena, uint32_t, in->nsymbols + 1);
}

/* Tables that are rebuilt, and LLVM's list of address-significant symbols, which is optional. */
static bool is_left_out(const Elf64_Shdr *s)
{
    return s->sh_type == SHT_NULL || s->sh_type == SHT_SYMTAB || s->sh_type == SHT_STRTAB ||
           s->sh_type == SHT_LLVM_ADDRSIG;
}

static void add_section(joining *j, const Elf64_Shdr *s, const char *content)
{
    BASE_PUSH(j->arena, &j->section, *s);
    BASE_PUSH(j->arena, &j->content, content);
}

static void number_sections(joining *j)
{
    add_section(j, &(Elf64_Shdr){0}, NULL);
    for (int f = 0; f < j->n; f++)
        for (uint32_t i = 0; i < j->in[f].nsections; i++) {
            const Elf64_Shdr *s = &j->in[f].section[i];
            const char *name = j->in[f].names + s->sh_name;
            if (is_left_out(s) || (f && !strcmp(name, ".note.GNU-stack")))
                continue;
            Elf64_Shdr to = *s;
            to.sh_name = add_name(j, name);
            j->in[f].section_to[i] = (uint32_t)j->section.count;
            add_section(j, &to, s->sh_type == SHT_NOBITS ? NULL : j->in[f].bytes + s->sh_offset);
        }
}

static bool is_global(const Elf64_Sym *s)
{
    return ELF64_ST_BIND(s->st_info) != STB_LOCAL;
}

static bool is_hidden(const Elf64_Sym *s)
{
    return s->st_shndx != SHN_UNDEF && ELF64_ST_VISIBILITY(s->st_other) == STV_HIDDEN;
}

static uint32_t add_symbol(joining *j, const input *in, const Elf64_Sym *s, bool local)
{
    Elf64_Sym to = *s;
    to.st_name = add_name(j, in->names + s->st_name);
    if (local) {
        to.st_info = ELF64_ST_INFO(STB_LOCAL, ELF64_ST_TYPE(s->st_info));
        to.st_other = STV_DEFAULT;
    }
    if (s->st_shndx != SHN_UNDEF && s->st_shndx < SHN_LORESERVE)
        to.st_shndx = (Elf64_Section)in->section_to[s->st_shndx];
    BASE_PUSH(j->arena, &j->symbol, to);
    return (uint32_t)j->symbol.count - 1;
}

/* ELF requires local symbols first: those of the inputs, then the hidden ones. Global symbols
 * follow, then those that no input defines. */
static void number_symbols(joining *j)
{
    BASE_PUSH(j->arena, &j->symbol, (Elf64_Sym){0});
    j->defined = base_map_new(j->arena);
    for (int round = 0; round < 4; round++) {
        for (int f = 0; f < j->n; f++)
            for (uint32_t i = 1; i < j->in[f].nsymbols; i++) {
                const Elf64_Sym *s = &j->in[f].symbol[i];
                int rank = !is_global(s) ? 0 : is_hidden(s) ? 1 : s->st_shndx != SHN_UNDEF ? 2 : 3;
                const char *name = j->in[f].names + s->st_name;
                if (rank != round)
                    continue;
                uint32_t *known = round ? base_map_get_text(&j->defined, name) : NULL;
                if (known) {
                    BUG_UNLESS(round == 3);
                    j->in[f].symbol_to[i] = *known;
                    continue;
                }
                uint32_t to = j->in[f].symbol_to[i] = add_symbol(j, &j->in[f], s, round == 1);
                if (round)
                    base_map_put_text(&j->defined, name, base_memdup(j->arena, &to, sizeof to));
            }
        if (round == 1)
            j->locals = (uint32_t)j->symbol.count;
    }
}

/* Updates the numbers of sections and symbols in headers and relocations. */
static void renumber(joining *j)
{
    for (int f = 0; f < j->n; f++)
        for (uint32_t i = 0; i < j->in[f].nsections; i++) {
            const input *in = &j->in[f];
            Elf64_Shdr *to = &j->section.items[in->section_to[i]];
            if (!in->section_to[i] || (!to->sh_link && to->sh_type != SHT_RELA))
                continue;
            if (to->sh_type != SHT_RELA) {
                to->sh_link = in->section_to[to->sh_link];
                continue;
            }
            size_t n = to->sh_size / sizeof(Elf64_Rela);
            Elf64_Rela *r = base_memdup(j->arena, j->content.items[in->section_to[i]], to->sh_size);
            for (size_t k = 0; k < n; k++)
                r[k].r_info = ELF64_R_INFO((uint64_t)in->symbol_to[ELF64_R_SYM(r[k].r_info)],
                                           ELF64_R_TYPE(r[k].r_info));
            j->content.items[in->section_to[i]] = (const char *)r;
            to->sh_link = (uint32_t)j->section.count; /* the symbol table, which is added next */
            to->sh_info = in->section_to[to->sh_info];
        }
}

static void *write_object(joining *j, size_t *size)
{
    uint32_t names_at = (uint32_t)j->section.count + 1;
    Elf64_Shdr symbols = {.sh_name = add_name(j, ".symtab"),
                          .sh_type = SHT_SYMTAB,
                          .sh_size = (size_t)j->symbol.count * sizeof(Elf64_Sym),
                          .sh_link = names_at,
                          .sh_info = j->locals,
                          .sh_addralign = 8,
                          .sh_entsize = sizeof(Elf64_Sym)};
    Elf64_Shdr names = {.sh_name = add_name(j, ".strtab"),
                        .sh_type = SHT_STRTAB,
                        .sh_size = (size_t)j->names.count,
                        .sh_addralign = 1};
    add_section(j, &symbols, (const char *)j->symbol.items);
    add_section(j, &names, j->names.items);
    size_t at = sizeof(Elf64_Ehdr);
    for (int i = 1; i < j->section.count; i++) {
        Elf64_Shdr *s = &j->section.items[i];
        size_t align = s->sh_addralign > 1 ? s->sh_addralign : 1;
        at = (at + align - 1) / align * align;
        s->sh_offset = at;
        at += s->sh_type == SHT_NOBITS ? 0 : s->sh_size;
    }
    at = (at + 7) / 8 * 8;
    BUG_UNLESS(j->section.count < SHN_LORESERVE);
    Elf64_Ehdr head = *j->in[0].head;
    head.e_shoff = at;
    head.e_shnum = (uint16_t)j->section.count;
    head.e_shstrndx = (uint16_t)names_at;
    *size = at + (size_t)j->section.count * sizeof(Elf64_Shdr);
    char *object = base_alloc(j->arena, *size);
    memcpy(object, &head, sizeof head);
    for (int i = 1; i < j->section.count; i++)
        if (j->content.items[i])
            memcpy(object + j->section.items[i].sh_offset, j->content.items[i],
                   j->section.items[i].sh_size);
    memcpy(object + at, j->section.items, (size_t)j->section.count * sizeof(Elf64_Shdr));
    return object;
}

const void *cg_join_objects(base_arena *arena, const void *const *object, int n, size_t *size)
{
    joining *j = base_new(arena, joining);
    j->arena = arena;
    j->n = n;
    j->in = base_array(arena, input, n);
    BASE_PUSH(arena, &j->names, '\0');
    for (int i = 0; i < n; i++)
        open_input(&j->in[i], arena, object[i]);
    number_sections(j);
    number_symbols(j);
    renumber(j);
    return write_object(j, size);
}
