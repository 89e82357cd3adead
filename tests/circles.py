#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Circles of files: in each library, the .c files whose code uses functions and variables of each other in a circle (from symbols
and relocations of the objects), and headers that include each other in one. Prints them and fails if there are any.
A table of functions is data: the file that has it does not use them, and a rule may call back who looks rules up.

    python3 tests/circles.py build
"""
import collections, os, re, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("base", "ir", "files", "passes", "schedule", "frontend", "codegen", "api", "driver", "runtime")


def components(graph):
    """The strongly connected components of more than one node, or of one that points to itself."""
    index, low, stack, on, out = {}, {}, [], set(), []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        on.add(v)
        for w in sorted(graph.get(v, ())):
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in on:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            part = []
            while not part or part[-1] != v:
                part.append(stack.pop())
                on.discard(part[-1])
            if len(part) > 1 or v in graph.get(v, ()):
                out.append(sorted(part))

    for v in sorted(graph):
        if v not in index:
            visit(v)
    return out


def sources(build):
    """Of each library: its .c files under ROOT with their objects."""
    out = collections.defaultdict(dict)
    for at, _, names in os.walk(build):
        target = re.search(r"CMakeFiles/(gradc\w*)\.dir(?:/|$)", at)
        if not target or target.group(1).startswith("gradc_rt_"):
            continue
        for name in names:
            if name.endswith(".c.o"):
                path = os.path.join(at, name)
                local = path.split(".dir/", 1)[1][:-2]
                source = next((s for s in (local, f"runtime/{local}") if os.path.exists(f"{ROOT}/{s}")), None)
                if source:
                    out[target.group(1)][source] = path
    return out


def lines(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def homes(objects):
    """Which file defines a global symbol."""
    file_of, out = {o: f for f, o in objects.items()}, {}
    for line in lines("nm", "-A", "-P", "-g", "--defined-only", *objects.values()):
        place, symbol = line.split()[:2]
        out[symbol] = file_of[place.rstrip(":")]
    return out


def code_uses(objects):
    """Pairs of a file and a symbol that its code names; what only its data names, as a table of rules does, is no use."""
    file_of, here, code = {o: f for f, o in objects.items()}, None, False
    for line in lines("objdump", "-r", *objects.values()):
        section = re.match(r"RELOCATION RECORDS FOR \[(.*)\]", line)
        if ":     file format " in line:
            here, code = file_of[line.split(":     file format ")[0]], False
        elif section:
            code = section.group(1).startswith(".text")
        elif code and len(line.split()) == 3:
            yield here, re.sub(r"[-+]0x[0-9a-f]+$", "", line.split()[2])


def uses(objects):
    """Which file uses which other, and what of it."""
    home = homes(objects)
    out = collections.defaultdict(lambda: collections.defaultdict(list))
    for f, s in set(code_uses(objects)):
        if s in home and home[s] != f:
            out[f][home[s]].append(s)
    return out


def includes():
    out = collections.defaultdict(lambda: collections.defaultdict(list))
    for folder in FOLDERS:
        for at, _, names in os.walk(f"{ROOT}/{folder}"):
            for name in names:
                if name.endswith(".h"):
                    path = os.path.relpath(os.path.join(at, name), ROOT)
                    for header in re.findall(r'^#include "(.*\.h)"', open(f"{ROOT}/{path}").read(), re.M):
                        out[path][header].append("#include")
    return out


def report(what, graph):
    wrong = 0
    for part in components(graph):
        wrong += 1
        print(f"{what}: {' '.join(part)}")
        for f in part:
            for g in part:
                if graph[f].get(g):
                    print(f"    {f} -> {g}: {', '.join(sorted(graph[f][g])[:6])}")
    return wrong


def main():
    libraries = sources(sys.argv[1])
    if len(libraries) < 6:
        sys.exit(f"{sys.argv[1]} has no objects of the libraries")
    wrong = report("headers", includes())
    for name, objects in sorted(libraries.items()):
        wrong += report(name, uses(objects))
    sys.exit(f"{wrong} circles" if wrong else 0)


main()
