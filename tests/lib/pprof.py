"""pprof.py - reads a profile of pprof's form: its types, and each sample with the names of its functions, innermost first."""
import gzip
from protobuf import fields, packed


class Profile:
    def __init__(self, data):
        p = fields(gzip.decompress(data))
        self.strings = [s.decode() for s in p[6]]
        assert self.strings[0] == ""
        self.types = [tuple(self.strings[fields(t)[n][0]] for n in (1, 2)) for t in p[1]]
        mappings = [fields(m) for m in p[3]]
        self.files = {self.strings[m[5][0]]: self.strings[m[6][0]] if 6 in m else "" for m in mappings if 5 in m}
        functions = {f[1][0]: self.strings[f[2][0]] for f in map(fields, p.get(5, []))}
        self.places = {}
        for place in map(fields, p.get(4, [])):
            lines = [fields(x) for x in place.get(4, [])]
            self.places[place[1][0]] = functions[lines[0][1][0]] if lines else None
            if 2 in place:
                m = mappings[place[2][0] - 1]
                assert m[1][0] == place[2][0] and m[2][0] <= place[3][0] < m[3][0]
        self.samples = []
        for s in map(fields, p.get(2, [])):
            self.samples.append(([self.places[i] for i in packed(s[1][0])], packed(s[2][0])))
        self.duration, self.period = p.get(10, [0])[0], p.get(12, [0])[0]

    def names(self):
        return {name for stack, _ in self.samples for name in stack if name}
