/* QEMU plugin: counts the A64 instructions that a program executes, by class, between its markers.
 *
 * A marker is `hint #96`, which no processor gives a meaning. At each one the plugin writes a line to the file `out`: what was
 * executed since the last marker, in the order of the classes below.
 *
 * The declarations are those of version 1 of the plugin interface, QEMU 4.2 to 8.2, whose header Debian does not package.
 * Encodings: Arm Architecture Reference Manual for A-profile, chapter C4.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { QEMU_PLUGIN_CB_NO_REGS };
enum { QEMU_PLUGIN_INLINE_ADD_U64 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum class { LOAD, BROADCAST, STORE, MULTIPLY_ADD, VECTOR, OTHER, CLASSES };

static const uint32_t MARKER = 0xd5032c1f;
static uint64_t counts[CLASSES], before[CLASSES];
static FILE *out;

/* Multiply-adds of vectors and dot products: the bits that are fixed, and their values. */
static const struct {
    uint32_t mask, value;
} MULTIPLY_ADDS[] = {
    {0xff000000, 0x1f000000}, /* fmadd of scalars */
    {0xbf20fc00, 0x0e20cc00}, /* fmla, fmls */
    {0xbf60fc00, 0x0e400c00}, /* fmla, fmls of f16 */
    {0xbf00b400, 0x0f001000}, /* fmla, fmls by element */
    {0xbf60fc00, 0x0e20ec00}, /* fmlal */
    {0xbf60fc00, 0x2e20cc00}, /* fmlal2 */
    {0xbfc0b400, 0x0f800000}, /* fmlal by element */
    {0xbfc0b400, 0x2f808000}, /* fmlal2 by element */
    {0x9f20f400, 0x0e009400}, /* sdot, udot, usdot */
    {0x9f00f400, 0x0f00e000}, /* sdot, udot by element */
    {0x9f20fc00, 0x0e208000}, /* smlal, umlal */
    {0x9f00f400, 0x0f002000}, /* smlal, umlal by element */
    {0xbf20fc00, 0x0e209400}, /* mla */
};

/* Whether an instruction of the group of loads and stores reads memory. */
static int is_load(uint32_t code) {
    int is_vector = code >> 26 & 1, opc = code >> 22 & 3;
    switch (code >> 28 & 3) {
    case 0: /* exclusive, structures */
    case 2: /* pairs */
        return opc & 1;
    case 1: /* literals, and ordered ones with an offset */
        return !(code >> 24 & 1) || opc != 0;
    default:
        return is_vector ? opc & 1 : opc != 0 || (code & 0x01200c00) == 0x00200000;
    }
}

static enum class class_of(uint32_t code) {
    uint32_t group = code >> 25 & 15;
    if ((group & 5) == 4) {
        /* ld1r: a load whose value a vector pipe copies to every lane. */
        if ((code & 0xbf60e000) == 0x0d40c000)
            return BROADCAST;
        return is_load(code) ? LOAD : STORE;
    }
    if ((group & 7) != 7)
        return OTHER;
    for (size_t i = 0; i < sizeof MULTIPLY_ADDS / sizeof *MULTIPLY_ADDS; i++)
        if ((code & MULTIPLY_ADDS[i].mask) == MULTIPLY_ADDS[i].value)
            return MULTIPLY_ADD;
    return VECTOR;
}

static void mark(unsigned cpu, void *data) {
    (void)cpu, (void)data;
    for (int i = 0; i < CLASSES; i++) {
        uint64_t now = counts[i];
        fprintf(out, "%" PRIu64 "%c", now - before[i], i + 1 < CLASSES ? ' ' : '\n');
        before[i] = now;
    }
    fflush(out);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        uint32_t code;
        memcpy(&code, qemu_plugin_insn_data(instruction), sizeof code);
        if (code == MARKER)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, mark, QEMU_PLUGIN_CB_NO_REGS, NULL);
        else
            qemu_plugin_register_vcpu_insn_exec_inline(instruction, QEMU_PLUGIN_INLINE_ADD_U64, &counts[class_of(code)], 1);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || !(out = fopen(argv[0] + 4, "w"))) {
        fprintf(stderr, "plugin.c: expected one argument, out=FILE, and a folder that can be written to\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
