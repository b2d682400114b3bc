// With p = exp(q·kᵀ·scale - lse) and ds = p·(g·vᵀ - delta): dq = ds·k·scale, dk = dsᵀ·q·scale, dv = pᵀ·g; see attention.cu.
// One kernel over blocks of queries and one over blocks of keys, so that no sum depends on which block comes first.

struct Backward {
    View q, k, v, g;
    Sums lse, delta;
    Element *dq, *dk, *dv;
    int heads, share, queries, keys;
    float scale, scale_log2;
};

// What a score's exponent is lessened by. A query that saw nothing but -inf has weighed nothing.
INLINE float less(float lse) {
    return lse == -INF ? INF : lse * LOG2_E;
}

#ifdef BY_QUERY

// Blocks along x are heads of queries, along y blocks of queries.
extern "C" __global__ void __launch_bounds__(THREADS) attention_queries(const Backward p) {
    extern __shared__ __align__(1024) unsigned char memory[];
    const int tile = COLUMNS * ROW_BYTES;
    const u32 q_tile = address(memory), g_tile = q_tile + ROWS * ROW_BYTES, k_tile = g_tile + ROWS * ROW_BYTES,
              v_tile = k_tile + 2 * tile;
    const int batch = blockIdx.x / p.heads, head = blockIdx.x % p.heads;
    const int first = (CAUSAL ? gridDim.y - 1 - blockIdx.y : blockIdx.y) * ROWS;
    const Element *k = p.k.data + batch * p.k.batch + head / p.share * p.k.head;
    const Element *v = p.v.data + batch * p.v.batch + head / p.share * p.v.head;
    const int end = CAUSAL ? min(p.keys, first + ROWS) : p.keys;

    fetch<ROWS>(q_tile, p.q.data + batch * p.q.batch + head * p.q.head, p.q.row, first, p.queries);
    fetch<ROWS>(g_tile, p.g.data + batch * p.g.batch + head * p.g.head, p.g.row, first, p.queries);
    fetch<COLUMNS>(k_tile, k, p.k.row, 0, p.keys);
    fetch<COLUMNS>(v_tile, v, p.v.row, 0, p.keys);
    commit();

    const float *lse = p.lse.data + batch * p.lse.batch + head * p.lse.head;
    const float *delta = p.delta.data + batch * p.delta.batch + head * p.delta.head;
    Left queries, grads;
    float dq[TILES][HEAD / 8][4], sums[TILES][2], deltas[TILES][2], scale[TILES][2];
    clear(dq);
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = first + row_of(m, half * 2);
            sums[m][half] = row < p.queries ? less(lse[row * p.lse.row]) : INF;
            deltas[m][half] = row < p.queries ? delta[row * p.delta.row] : 0;
            scale[m][half] = p.scale;
        }

    int stage = 0;
    for (int key = 0; key < end; key += COLUMNS, stage ^= 1) {
        arrived();
        __syncthreads();
        if (key == 0) queries.begin(q_tile), grads.begin(g_tile);
        if (key + COLUMNS < end) {
            fetch<COLUMNS>(k_tile + (stage ^ 1) * tile, k, p.k.row, key + COLUMNS, p.keys);
            fetch<COLUMNS>(v_tile + (stage ^ 1) * tile, v, p.v.row, key + COLUMNS, p.keys);
            commit();
        }
        float s[TILES][COLUMNS / 8][4], ds[TILES][COLUMNS / 8][4];
        beside(s, queries, k_tile + stage * tile);
        beside(ds, grads, v_tile + stage * tile);
        const bool edge = key + COLUMNS > p.keys || (CAUSAL && key + COLUMNS - 1 > first);
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    float weight = exp2_fast(fmaf(s[m][n][i], p.scale_log2, -sums[m][i / 2]));
                    float slope = weight * (ds[m][n][i] - deltas[m][i / 2]);
                    int column = key + column_of(n, i);
                    bool hidden = edge && (column >= p.keys || (CAUSAL && column > first + row_of(m, i)));
                    ds[m][n][i] = hidden ? 0 : slope;
                }
        gather(dq, ds, k_tile + stage * tile);
    }
    Element *to = p.dq + ((i64)batch * p.queries * p.heads + head) * HEAD;
    write(to, (i64)p.heads * HEAD, first, p.queries, dq, scale);
}

#else

// Blocks along x are heads of keys, along y blocks of keys; scores have keys along their rows.
extern "C" __global__ void __launch_bounds__(THREADS) attention_keys(const Backward p) {
    extern __shared__ __align__(1024) unsigned char memory[];
    const int tile = COLUMNS * ROW_BYTES, groups = p.heads / p.share;
    const u32 k_tile = address(memory), v_tile = k_tile + ROWS * ROW_BYTES, q_tile = v_tile + ROWS * ROW_BYTES,
              g_tile = q_tile + 2 * tile, sums = g_tile + 2 * tile;
    const float *sum_of = (const float *)(memory + 2 * ROWS * ROW_BYTES + 4 * tile);
    const int batch = blockIdx.x / groups, group = blockIdx.x % groups, first = blockIdx.y * ROWS;
    // Earlier queries do not see these keys.
    const int begin = CAUSAL ? first / COLUMNS * COLUMNS : 0;
    const int blocks = begin < p.queries ? (p.queries - begin + COLUMNS - 1) / COLUMNS : 0, count = blocks * p.share;

    auto fetch_queries = [&](int i) {
        const int head = group * p.share + i / blocks, query = begin + i % blocks * COLUMNS, stage = i % 2;
        fetch<COLUMNS>(q_tile + stage * tile, p.q.data + batch * p.q.batch + head * p.q.head, p.q.row, query, p.queries);
        fetch<COLUMNS>(g_tile + stage * tile, p.g.data + batch * p.g.batch + head * p.g.head, p.g.row, query, p.queries);
        const float *lse = p.lse.data + batch * p.lse.batch + head * p.lse.head;
        const float *delta = p.delta.data + batch * p.delta.batch + head * p.delta.head;
        for (int j = threadIdx.x; j < COLUMNS; j += THREADS) {
            bool there = query + j < p.queries;
            i64 row = there ? query + j : 0;
            copy4(sums + (stage * 2 * COLUMNS + j) * 4, lse + row * p.lse.row, there);
            copy4(sums + (stage * 2 * COLUMNS + COLUMNS + j) * 4, delta + row * p.delta.row, there);
        }
    };
    fetch<ROWS>(k_tile, p.k.data + batch * p.k.batch + group * p.k.head, p.k.row, first, p.keys);
    fetch<ROWS>(v_tile, p.v.data + batch * p.v.batch + group * p.v.head, p.v.row, first, p.keys);
    if (count > 0) fetch_queries(0);
    commit();

    Left keys, values;
    float dk[TILES][HEAD / 8][4], dv[TILES][HEAD / 8][4];
    clear(dk);
    clear(dv);
    for (int step = 0; step < count; step++) {
        const int stage = step % 2, query = begin + step % blocks * COLUMNS;
        arrived();
        __syncthreads();
        if (step == 0) keys.begin(k_tile), values.begin(v_tile);
        if (step + 1 < count) {
            fetch_queries(step + 1);
            commit();
        }
        float s[TILES][COLUMNS / 8][4], ds[TILES][COLUMNS / 8][4];
        beside(s, keys, q_tile + stage * tile);
        beside(ds, values, g_tile + stage * tile);
        // Queries beyond the last are zeros, and so is all that comes of them; keys beyond the last are not written.
        const bool edge = CAUSAL && query < first + ROWS - 1;
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const int column = column_of(n, j);
                const float sum = less(sum_of[stage * 2 * COLUMNS + column]);
                const float delta = sum_of[stage * 2 * COLUMNS + COLUMNS + column];
#pragma unroll
                for (int m = 0; m < TILES; m++)
#pragma unroll
                    for (int i = j; i < 4; i += 2) {
                        float weight = exp2_fast(fmaf(s[m][n][i], p.scale_log2, -sum));
                        float slope = weight * (ds[m][n][i] - delta);
                        bool hidden = edge && query + column < first + row_of(m, i);
                        s[m][n][i] = hidden ? 0 : weight;
                        ds[m][n][i] = hidden ? 0 : slope;
                    }
            }
        gather(dv, s, g_tile + stage * tile);
        gather(dk, ds, q_tile + stage * tile);
    }
    arrived();
    float one[TILES][2], scale[TILES][2];
#pragma unroll
    for (int m = 0; m < TILES; m++) one[m][0] = one[m][1] = 1, scale[m][0] = scale[m][1] = p.scale;
    const i64 at = ((i64)batch * p.keys * groups + group) * HEAD, stride = (i64)groups * HEAD;
    write(p.dk + at, stride, first, p.keys, dk, scale);
    write(p.dv + at, stride, first, p.keys, dv, one);
}

#endif
