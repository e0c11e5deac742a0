// Instructions of each class, a class between two markers, for a test of the plugin: what it must count is in classes.expected.
.arch armv8.2-a+fp16+dotprod+fp16fml
.global _start
_start:
    hint #96
    mov x9, #1000
1:  subs x9, x9, #1
    b.ne 1b
    hint #96
    adr x1, data
    ldr q0, [x1]
    ldp q0, q1, [x1]
    ld1 {v2.16b}, [x1]
    ldr w3, [x1]
    ldrsw x3, [x1]
    ldur q0, [x1,#1]
    ldr x4, [x1], #8
    ldr s0, [x1]
    hint #96
    ld1r {v0.4s}, [x1]
    ld1r {v0.4s}, [x1], #4
    hint #96
    sub sp, sp, #64
    str q0, [sp]
    stp q0, q1, [sp]
    st1 {v0.16b}, [sp]
    str w3, [sp]
    stur x3, [sp,#1]
    str x4, [sp]
    hint #96
    fmla v0.4s, v1.4s, v2.4s
    fmls v0.4s, v1.4s, v2.4s
    fmla v0.8h, v1.8h, v2.8h
    fmla v0.4s, v1.4s, v2.s[1]
    fmla v0.8h, v1.8h, v2.h[7]
    fmadd s0, s1, s2, s3
    sdot v0.4s, v1.16b, v2.16b
    udot v0.4s, v1.16b, v2.4b[3]
    sdot v0.4s, v1.16b, v2.4b[3]
    smlal v0.4s, v1.4h, v2.4h
    smlal2 v0.4s, v1.8h, v2.8h
    smlal v0.4s, v1.4h, v2.h[7]
    mla v0.4s, v1.4s, v2.4s
    hint #96
    fmul v0.4s, v1.4s, v2.4s
    fadd v0.4s, v1.4s, v2.4s
    fmul v0.4s, v1.4s, v2.s[1]
    eor v0.16b, v1.16b, v2.16b
    dup v0.4s, w1
    fcvtl v0.4s, v1.4h
    sshr v0.4s, v1.4s, #3
    scvtf v0.4s, v1.4s
    fmov s0, w1
    smull v0.4s, v1.4h, v2.4h
    fmaxnm v0.4s, v1.4s, v2.4s
    zip1 v0.4s, v1.4s, v2.4s
    hint #96
    mov x8, #93
    mov x0, #0
    svc #0
.align 4
data: .fill 64, 1, 0
