// Attention and its gradient on NVIDIA's matrix units (FlashAttention-2; Dao, 2023): what all three kernels share.
//
// A block has some queries (or, for the gradients of keys and values, some keys) and walks over all keys (queries), which
// come by asynchronous copies into one of two stages while the other is computed with. A warp has TILES times sixteen rows
// and all columns of a block of scores, so a softmax needs only the four lanes that share a row, and what one product leaves
// in registers is, lane for lane, what the next takes: weights never go through memory.
//
// Defined in front of this file: TYPE (0: f16, 1: bf16, 2: f32 rounded to TF32), HEAD (the width of a head, 64 or 128),
// CAUSAL, and for each kernel WARPS, TILES, COLUMNS (keys or queries of a step) and KEEP (whether the rows' operands stay in
// registers). No header is needed.
//
// Everything is in steps of 16 terms. For TF32 a step is two of the matrix units' own, and its sixteen terms are taken in an
// order in which a lane's four lie side by side in memory; both operands agree on it, so the sum is the same.

typedef unsigned int u32;
typedef long long i64;

#define THREADS (WARPS * 32)
#define ROWS (WARPS * TILES * 16)
#define INLINE __device__ __forceinline__
#define LOG2_E 1.4426950408889634f
#define LN2 0.6931471805599453f
#define INF __int_as_float(0x7f800000)

#if TYPE == 2
typedef float Element;
#define FRAGMENT 8
#else
typedef unsigned short Element;
#define FRAGMENT 4
#endif

#define ROW_BYTES (HEAD * (int)sizeof(Element))
#define CHUNKS (ROW_BYTES / 16)
#define STEPS (HEAD / 16)

// Where a head's first element is, given elements from one batch, head and position to the next. Widths lie side by side.
struct View {
    Element *data;
    i64 batch, head, row;
};

// Sums: one number for each query.
struct Sums {
    float *data;
    i64 batch, head, row;
};

INLINE u32 address(const void *p) {
    u32 a;
    asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }" : "=r"(a) : "l"(p));
    return a;
}

// Copies 16 bytes, or zeros where there is nothing.
INLINE void copy16(u32 to, const void *from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
}

INLINE void copy4(u32 to, const void *from, bool there) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(there ? 4 : 0) : "memory");
}

INLINE void commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

INLINE void arrived() {
    asm volatile("cp.async.wait_group 0;" ::: "memory");
}

INLINE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Chunks of 16 bytes change places within their 128 bytes, so that the lanes of every access below meet all banks.
INLINE u32 place(int row, int chunk) {
#if TYPE == 2
    int turn = (row & 6) ^ ((row & 1) << 2);
#else
    int turn = row & 7;
#endif
    return row * ROW_BYTES + ((chunk ^ turn) << 4);
}

// `count` rows from `first` on, zeros beyond `end`.
template <int count>
INLINE void fetch(u32 to, const Element *head, i64 stride, int first, int end) {
    const int rows = THREADS / CHUNKS, chunk = threadIdx.x % CHUNKS, mine = threadIdx.x / CHUNKS;
    const Element *from = head + (first + mine) * stride + chunk * (16 / (int)sizeof(Element));
    // The loop's count is known, so it is unrolled, and nothing is worked out twice.
#pragma unroll
    for (int i = 0; i < (count + rows - 1) / rows; i++) {
        int row = mine + i * rows;
        bool there = first + row < end;
        if (count % rows == 0 || row < count) copy16(to + place(row, chunk), there ? from + i * rows * stride : head, there);
    }
}

#if TYPE == 2

INLINE u32 rounded(float x) {
    u32 y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}

INLINE float4 read4(u32 from) {
    float4 x;
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w) : "r"(from));
    return x;
}

INLINE float read1(u32 from) {
    float x;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(x) : "r"(from));
    return x;
}

INLINE void multiply8(float *c, const u32 *a, u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// c += a·b, sixteen rows beside eight columns.
INLINE void multiply(float *c, const u32 *a, const u32 *b) {
    multiply8(c, a, b[0], b[1]);
    multiply8(c, a + 4, b[2], b[3]);
}

// Sixteen rows of a tile as the left operand.
INLINE void left(u32 *a, u32 tile, int row, int step) {
    int lane = threadIdx.x % 32;
    float4 x = read4(tile + place(row + lane / 4, step * 4 + lane % 4));
    float4 y = read4(tile + place(row + lane / 4 + 8, step * 4 + lane % 4));
    a[0] = rounded(x.x), a[1] = rounded(y.x), a[2] = rounded(x.y), a[3] = rounded(y.y);
    a[4] = rounded(x.z), a[5] = rounded(y.z), a[6] = rounded(x.w), a[7] = rounded(y.w);
}

// Sixteen rows of a tile as columns of the right operand.
INLINE void right(u32 *b, u32 tile, int row, int step) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float4 x = read4(tile + place(row + i * 8 + lane / 4, step * 4 + lane % 4));
        b[i * 4] = rounded(x.x), b[i * 4 + 1] = rounded(x.y), b[i * 4 + 2] = rounded(x.z), b[i * 4 + 3] = rounded(x.w);
    }
}

// Sixteen rows of a tile as terms, its columns 16·n.. as columns of the right operand.
INLINE void right_terms(u32 *b, u32 tile, int row, int n) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int term = row + lane % 4 * 2 + j % 2 + j / 2 * 8, column = n * 16 + i * 8 + lane / 4;
            b[i * 4 + j] = rounded(read1(tile + place(term, column / 4) + column % 4 * 4));
        }
    }
}

// Sixteen columns of a product as terms of the next.
INLINE void again(u32 *a, const float *c, const float *d) {
    a[0] = rounded(c[0]), a[1] = rounded(c[2]), a[2] = rounded(c[1]), a[3] = rounded(c[3]);
    a[4] = rounded(d[0]), a[5] = rounded(d[2]), a[6] = rounded(d[1]), a[7] = rounded(d[3]);
}

INLINE void store2(Element *to, float x, float y) {
    *(float2 *)to = make_float2(x, y);
}

#else

// Two numbers in a word, the first in the low half.
INLINE u32 pair(float x, float y) {
    u32 z;
#if TYPE == 0
    asm("cvt.rn.f16x2.f32 %0, %2, %1;" : "=r"(z) : "f"(x), "f"(y));
#else
    asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(z) : "f"(x), "f"(y));
#endif
    return z;
}

INLINE void multiply(float *c, const u32 *a, const u32 *b) {
#if TYPE == 0
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
#endif
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

INLINE void matrices(u32 *f, u32 from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3])
                 : "r"(from));
}

INLINE void left(u32 *a, u32 tile, int row, int step) {
    int lane = threadIdx.x % 32;
    matrices(a, tile + place(row + lane % 16, step * 2 + lane / 16));
}

INLINE void right(u32 *b, u32 tile, int row, int step) {
    int lane = threadIdx.x % 32;
    matrices(b, tile + place(row + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
}

INLINE void right_terms(u32 *b, u32 tile, int row, int n) {
    int lane = threadIdx.x % 32;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(tile + place(row + lane % 16, n * 2 + lane / 16)));
}

INLINE void again(u32 *a, const float *c, const float *d) {
    a[0] = pair(c[0], c[1]), a[1] = pair(c[2], c[3]), a[2] = pair(d[0], d[1]), a[3] = pair(d[2], d[3]);
}

INLINE void store2(Element *to, float x, float y) {
    *(u32 *)to = pair(x, y);
}

#endif

// The left operand of some rows, in registers or read when it is wanted.
struct Left {
#if KEEP
    u32 kept[TILES][STEPS][FRAGMENT];
#endif
    u32 tile;

    INLINE void begin(u32 from) {
        tile = from;
#if KEEP
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int step = 0; step < STEPS; step++) left(kept[m][step], tile, row(m), step);
#endif
    }

    static INLINE int row(int m) {
        return threadIdx.x / 32 * TILES * 16 + m * 16;
    }

    INLINE void get(u32 a[TILES][FRAGMENT], int step) const {
#pragma unroll
        for (int m = 0; m < TILES; m++) {
#if KEEP
#pragma unroll
            for (int i = 0; i < FRAGMENT; i++) a[m][i] = kept[m][step][i];
#else
            left(a[m], tile, row(m), step);
#endif
        }
    }
};

// Scores: the warp's rows beside all rows of another tile.
INLINE void beside(float c[TILES][COLUMNS / 8][4], const Left &rows, u32 columns) {
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) c[m][n][i] = 0;
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        u32 a[TILES][FRAGMENT];
        rows.get(a, step);
#pragma unroll
        for (int n = 0; n < COLUMNS / 16; n++) {
            u32 b[FRAGMENT];
            right(b, columns, n * 16, step);
#pragma unroll
            for (int m = 0; m < TILES; m++) {
                multiply(c[m][n * 2], a[m], b);
                multiply(c[m][n * 2 + 1], a[m], b + FRAGMENT / 2);
            }
        }
    }
}

// sum += weights·tile, the weights' columns being the tile's rows.
INLINE void gather(float sum[TILES][HEAD / 8][4], const float weights[TILES][COLUMNS / 8][4], u32 tile) {
#pragma unroll
    for (int step = 0; step < COLUMNS / 16; step++) {
        u32 a[TILES][FRAGMENT];
#pragma unroll
        for (int m = 0; m < TILES; m++) again(a[m], weights[m][step * 2], weights[m][step * 2 + 1]);
#pragma unroll
        for (int n = 0; n < HEAD / 16; n++) {
            u32 b[FRAGMENT];
            right_terms(b, tile, step * 16, n);
#pragma unroll
            for (int m = 0; m < TILES; m++) {
                multiply(sum[m][n * 2], a[m], b);
                multiply(sum[m][n * 2 + 1], a[m], b + FRAGMENT / 2);
            }
        }
    }
}

INLINE void clear(float c[TILES][HEAD / 8][4]) {
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) c[m][n][i] = 0;
}

// The row (of a tile of sixteen) and the column (of eight) of number i of a lane's four.
INLINE int row_of(int m, int i) {
    return Left::row(m) + threadIdx.x % 32 / 4 + i / 2 * 8;
}

INLINE int column_of(int n, int i) {
    return n * 8 + threadIdx.x % 4 * 2 + i % 2;
}

// Rows of a result `[batch, positions, heads, HEAD]`, each times a factor of its own.
INLINE void write(Element *head, i64 stride, int first, int end, const float c[TILES][HEAD / 8][4],
                  const float factor[TILES][2]) {
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = first + row_of(m, half * 2);
            if (row < end) {
#pragma unroll
                for (int n = 0; n < HEAD / 8; n++)
                    store2(head + row * stride + column_of(n, 0), c[m][n][half * 2] * factor[m][half],
                           c[m][n][half * 2 + 1] * factor[m][half]);
            }
        }
}
