// f <- exp(time L) f on many lines at once, L the generator of a Markov jump chain between neighbours.
//
// The algorithm, its sources and the meaning of the constants, which are put before this text, are those of
// wfr_pde/flows/transport/line_sweeps.py, which it is tested against. What differs is the order of the work: a thread
// has a line, and goes through it with what it needs of the neighbours in registers. Right-hand sides and sums over
// poles are formed on the way. Arrays are (n, lines), lines contiguous: neighbouring threads read neighbouring numbers.
//
// Every line takes its own intervals of time, so that results do not depend on how lines are put together.

#define INFINITE __longlong_as_double(0x7ff0000000000000LL)
constexpr long long LOWEST = -1100;  // powers of two below are zero

// One line of an array with `lines` lines.
template <class T>
struct Line {
    T *start;
    long long lines;
    __device__ T &operator[](long long i) const { return start[i * lines]; }
};
typedef Line<double> Values;
typedef Line<long long> Integers;

// The cells of a line: jump rates, every `stride` numbers (logarithms where lines are wide), and scratch arrays, one
// after another, of as many lines as have a thread.
struct Cells {
    long long n, stride, lines;
    const double *down, *up, *log_down, *log_up;
    double *scratch;
    long long *integers;

    __device__ double down_rate(long long i) const { return down[i * stride]; }
    __device__ double up_rate(long long i) const { return up[i * stride]; }
    __device__ double rate(int side, long long i) const { return (side == 0 ? down : up)[i * stride]; }
    __device__ double log_rate(int side, long long i) const { return (side == 0 ? log_down : log_up)[i * stride]; }
};

// Numbers of arrays: two for terms of the series, or the results of one and of two steps; y and g of the elimination;
// where lines are wide, six parts of scaled rates and the mantissa.
constexpr long long TERM = 0, SPARE = 1, WHOLE = 0, HALF = 1, ELIMINATION = 2;
constexpr long long OF_WALLS = 4 * PAIRS, OF_RING = 10 * PAIRS;
constexpr long long EXPONENT = 0, SCALE = 1, POWER = 2;  // POWER of jumps down, and up: two

template <bool periodic>
struct Scratch {
    static constexpr long long G = ELIMINATION + (periodic ? 6 : 2) * PAIRS;
    static constexpr long long PARTS = ELIMINATION + (periodic ? OF_RING : OF_WALLS);
    static constexpr long long MANTISSA = PARTS + 6;
};

__device__ inline Values array(const Cells &c, long long number) {
    return Values{c.scratch + number * c.n * c.lines, c.lines};
}

__device__ inline Integers integers(const Cells &c, long long number) {
    return Integers{c.integers + number * c.n * c.lines, c.lines};
}

__device__ inline double larger(double a, double b) { return a > b ? a : b; }
__device__ inline double smaller(double a, double b) { return a < b ? a : b; }
__device__ inline long long larger(long long a, long long b) { return a > b ? a : b; }
__device__ inline long long smaller(long long a, long long b) { return a < b ? a : b; }

// value 2^power
__device__ inline double times_two_to(double value, long long power) {
    return ldexp(value, (int)larger(LOWEST, power));
}

// e^logarithm as a mantissa times 2^k
__device__ inline double split_exponential(double logarithm, double k) {
    return exp((logarithm - k * LN2_HIGH) - k * LN2_LOW);
}

// (L f)_i, in units of the scale of cell i where lines are wide
template <bool wide, bool periodic>
__device__ inline double jumps(const Cells &c, long long i, double below, double here, double above) {
    if (wide) {
        Values p = array(c, Scratch<periodic>::PARTS + 0), w = array(c, Scratch<periodic>::PARTS + 1);
        Values p2 = array(c, Scratch<periodic>::PARTS + 2), p3 = array(c, Scratch<periodic>::PARTS + 3);
        Values p4 = array(c, Scratch<periodic>::PARTS + 4), p5 = array(c, Scratch<periodic>::PARTS + 5);
        double sum = p[i] * (p2[i] * below - p4[i] * here);
        return sum + w[i] * (p3[i] * above - p5[i] * here);
    }
    return c.down_rate(i) * (below - here) + c.up_rate(i) * (above - here);
}

// The rate of jumps as seen by scaled values
template <bool wide, bool periodic>
__device__ inline double scaled_rate(const Cells &c, int side, long long i) {
    if (wide) {
        const long long parts = Scratch<periodic>::PARTS;
        return array(c, parts + side)[i] * array(c, parts + 2 + side)[i];
    }
    return c.rate(side, i);
}

// The next term in `count` cells from i on, added to f; here and below are the values in i and before. All is read
// before anything is written, so that the reads wait for the memory together.
template <bool wide, bool periodic, int count>
__device__ inline void next_terms(const Cells &c, Values f, Values term, Values spare, long long i, double first,
                                  double scale, double scaled_jump, double &below, double &here, double &worst) {
    double value[count], sum[count];
#pragma unroll
    for (int g = 0; g < count; g++) {
        const double above = i + g + 1 < c.n ? term[i + g + 1] : periodic ? first : 0.0;
        value[g] = scale * here + scaled_jump * jumps<wide, periodic>(c, i + g, below, here, above);
        sum[g] = f[i + g] + value[g];
        worst = larger(worst, value[g] - NEGLIGIBLE_TERM * sum[g]);
        below = here;
        here = above;
    }
#pragma unroll
    for (int g = 0; g < count; g++) {
        spare[i + g] = value[g];
        f[i + g] = sum[g];
    }
}

// f <- e^(x/rate L) f by uniformisation
template <bool wide, bool periodic>
__device__ void series(const Cells &c, Values f, double x, double rate) {
    constexpr int TOGETHER = 8;
    const long long n = c.n;
    const double per_jump = 1.0 / rate;
    Values term = array(c, TERM), spare = array(c, SPARE);
    for (long long i = 0; i < n; i++) term[i] = f[i];
    long long k = 0;
    for (bool done = false; !done;) {
        double worst = 0.0;  // of the last term
        for (int t = 0; t < TERMS_PER_CHECK; t++) {
            k++;
            const double scale = x / k, scaled_jump = scale * per_jump;
            const double first = term[0];
            double below = periodic ? term[n - 1] : 0.0, here = first;
            worst = 0.0;
            long long i = 0;
            for (; i + TOGETHER <= n; i += TOGETHER)
                next_terms<wide, periodic, TOGETHER>(c, f, term, spare, i, first, scale, scaled_jump, below, here,
                                                     worst);
            for (; i < n; i++)
                next_terms<wide, periodic, 1>(c, f, term, spare, i, first, scale, scaled_jump, below, here, worst);
            const Values other = term;
            term = spare;
            spare = other;
        }
        done = k > x && worst <= 0.0;
    }
    const double factor = exp(-x);
    for (long long i = 0; i < n; i++) f[i] *= factor;
}

// out <- f + sum over poles of Re[c/theta (theta - h L)^-1 h L f]; out may be f.
//
// The elimination carries the row sums theta along: s = 1 - (what has been eliminated of the weight below),
// beta = theta + h down s_below + h up; nothing cancels. On a ring the last cell is solved for in the end, by
// y += z y_last with z the response of the others to it, and k = 1 - z.
template <bool wide, bool periodic>
__device__ void rational(const Cells &c, Values f, Values out, double h, const double *poles) {
    const long long n = c.n, chain = periodic ? n - 1 : n;
    const long long G = Scratch<periodic>::G;
    const double *pole_re = poles, *pole_im = poles + PAIRS;
    const double *weight_re = poles + 2 * PAIRS, *weight_im = poles + 3 * PAIRS;
    double s_re[PAIRS], s_im[PAIRS], y_re[PAIRS], y_im[PAIRS];
    double z_re[PAIRS], z_im[PAIRS], k_re[PAIRS], k_im[PAIRS];
    for (int j = 0; j < PAIRS; j++) {
        s_re[j] = s_im[j] = y_re[j] = y_im[j] = 0.0;
        z_re[j] = z_im[j] = k_re[j] = k_im[j] = 0.0;
    }
    const double first_f = f[0], last_f = f[n - 1];  // beyond walls the rates are zero
    double below = last_f, here = first_f;
    for (long long i = 0; i < chain; i++) {
        const double above = i + 1 < n ? f[i + 1] : first_f;
        const double r = h * jumps<wide, periodic>(c, i, below, here, above);
        below = here;
        here = above;
        double hd = h * c.down_rate(i), hu = h * c.up_rate(i);
        double from_below = h * scaled_rate<wide, periodic>(c, 0, i);
        double from_above = h * scaled_rate<wide, periodic>(c, 1, i);
        double link = 0.0, scaled_link = 0.0;  // rate of jumps from this cell straight to the last cell of a ring
        if (periodic && i == 0) {
            link = hd;
            scaled_link = from_below;
            hd = from_below = 0.0;
        }
        if (periodic && i == chain - 1) {
            link += hu;
            scaled_link += from_above;
            hu = from_above = 0.0;
        }
#pragma unroll
        for (int j = 0; j < PAIRS; j++) {
            const double nr = pole_re[j] + link + hd * s_re[j], ni = pole_im[j] + hd * s_im[j];
            double br = nr + hu, bi = ni;
            const double inverse = 1.0 / (br * br + bi * bi);
            br *= inverse;
            bi *= -inverse;
            s_re[j] = nr * br - ni * bi;
            s_im[j] = nr * bi + ni * br;
            double ar = r + from_below * y_re[j], ai = from_below * y_im[j];
            array(c, ELIMINATION + j)[i] = y_re[j] = ar * br - ai * bi;
            array(c, ELIMINATION + PAIRS + j)[i] = y_im[j] = ar * bi + ai * br;
            array(c, G + j)[i] = from_above * br;
            array(c, G + PAIRS + j)[i] = from_above * bi;
            if (periodic) {
                array(c, G + 2 * PAIRS + j)[i] = hu * br;
                array(c, G + 3 * PAIRS + j)[i] = hu * bi;
                ar = scaled_link + from_below * z_re[j];
                ai = from_below * z_im[j];
                array(c, ELIMINATION + 2 * PAIRS + j)[i] = z_re[j] = ar * br - ai * bi;
                array(c, ELIMINATION + 3 * PAIRS + j)[i] = z_im[j] = ar * bi + ai * br;
                ar = pole_re[j] + hd * k_re[j];
                ai = pole_im[j] + hd * k_im[j];
                array(c, ELIMINATION + 4 * PAIRS + j)[i] = k_re[j] = ar * br - ai * bi;
                array(c, ELIMINATION + 5 * PAIRS + j)[i] = k_im[j] = ar * bi + ai * br;
            }
        }
    }
    if (!periodic) {
        for (long long i = n - 1; i >= 0; i--) {
            double change = 0.0;
#pragma unroll
            for (int j = 0; j < PAIRS; j++) {
                if (i < n - 1) {
                    const double gr = array(c, G + j)[i], gi = array(c, G + PAIRS + j)[i];
                    const double yr = y_re[j], yi = y_im[j];
                    y_re[j] = array(c, ELIMINATION + j)[i] + (gr * yr - gi * yi);
                    y_im[j] = array(c, ELIMINATION + PAIRS + j)[i] + (gr * yi + gi * yr);
                }
                change += weight_re[j] * y_re[j] - weight_im[j] * y_im[j];
            }
            out[i] = f[i] + change;
        }
        return;
    }
    const long long end = n - 1;
    double end_y_re[PAIRS], end_y_im[PAIRS], end_k_re[PAIRS], end_k_im[PAIRS];  // of the cell before the last
    for (int j = 0; j < PAIRS; j++) {
        end_y_re[j] = y_re[j];
        end_y_im[j] = y_im[j];
        end_k_re[j] = k_re[j];
        end_k_im[j] = k_im[j];
    }
    for (long long i = chain - 2; i >= 0; i--) {
#pragma unroll
        for (int j = 0; j < PAIRS; j++) {
            const double gr = array(c, G + j)[i], gi = array(c, G + PAIRS + j)[i];
            const double own_gr = array(c, G + 2 * PAIRS + j)[i], own_gi = array(c, G + 3 * PAIRS + j)[i];
            double re = y_re[j], im = y_im[j];
            y_re[j] = array(c, ELIMINATION + j)[i] + (gr * re - gi * im);
            y_im[j] = array(c, ELIMINATION + PAIRS + j)[i] + (gr * im + gi * re);
            re = z_re[j], im = z_im[j];
            z_re[j] = array(c, ELIMINATION + 2 * PAIRS + j)[i] + (gr * re - gi * im);
            z_im[j] = array(c, ELIMINATION + 3 * PAIRS + j)[i] + (gr * im + gi * re);
            re = k_re[j], im = k_im[j];  // k is not scaled
            k_re[j] = array(c, ELIMINATION + 4 * PAIRS + j)[i] + (own_gr * re - own_gi * im);
            k_im[j] = array(c, ELIMINATION + 5 * PAIRS + j)[i] + (own_gr * im + own_gi * re);
            array(c, ELIMINATION + j)[i] = y_re[j];
            array(c, ELIMINATION + PAIRS + j)[i] = y_im[j];
            array(c, ELIMINATION + 2 * PAIRS + j)[i] = z_re[j];
            array(c, ELIMINATION + 3 * PAIRS + j)[i] = z_im[j];
        }
    }
    // the last cell of the ring, and its part in the others; y, z, k are now those of cell 0
    const double r = h * jumps<wide, periodic>(c, end, f[end - 1], last_f, first_f);
    const double hd = h * c.down_rate(end), hu = h * c.up_rate(end);
    const double sd = h * scaled_rate<wide, periodic>(c, 0, end), su = h * scaled_rate<wide, periodic>(c, 1, end);
    double change = 0.0;
    for (int j = 0; j < PAIRS; j++) {
        const double br = pole_re[j] + hd * end_k_re[j] + hu * k_re[j];
        const double bi = pole_im[j] + hd * end_k_im[j] + hu * k_im[j];
        const double ar = r + sd * end_y_re[j] + su * y_re[j], ai = sd * end_y_im[j] + su * y_im[j];
        const double inverse = 1.0 / (br * br + bi * bi);
        y_re[j] = (ar * br + ai * bi) * inverse;
        y_im[j] = (ai * br - ar * bi) * inverse;
        change += weight_re[j] * y_re[j] - weight_im[j] * y_im[j];
    }
    out[end] = last_f + change;
    for (long long i = 0; i < end; i++) {
        change = 0.0;
#pragma unroll
        for (int j = 0; j < PAIRS; j++) {
            const double zr = array(c, ELIMINATION + 2 * PAIRS + j)[i], zi = array(c, ELIMINATION + 3 * PAIRS + j)[i];
            const double re = array(c, ELIMINATION + j)[i] + (zr * y_re[j] - zi * y_im[j]);
            const double im = array(c, ELIMINATION + PAIRS + j)[i] + (zr * y_im[j] + zi * y_re[j]);
            change += weight_re[j] * re - weight_im[j] * im;
        }
        out[i] = f[i] + change;
    }
}

// mantissa 2^exponent <- e^f
__device__ void split(const Cells &c, Values f, Values mantissa, Integers exponent) {
    for (long long i = 0; i < c.n; i++) {
        if (f[i] == -INFINITE) {
            mantissa[i] = 0.0;
            exponent[i] = NOWHERE;
            continue;
        }
        const double k = floor(f[i] / (LN2_HIGH + LN2_LOW));
        mantissa[i] = split_exponential(f[i], k);
        exponent[i] = (long long)k;
    }
}

// Powers of two, rounded up, of the jump rates over the largest; NOWHERE where there is no jump
__device__ void powers(const Cells &c, double fastest) {
    for (int side = 0; side < 2; side++) {
        Integers power = integers(c, POWER + side);
        for (long long i = 0; i < c.n; i++) {
            const double log_rate = c.log_rate(side, i);
            power[i] = NOWHERE;
            if (log_rate > -INFINITE) power[i] = (long long)ceil((log_rate - log(fastest)) / (LN2_HIGH + LN2_LOW));
        }
    }
}

// Powers of two, one per cell: at least its own, and no scaled rate exceeds the largest rate times 2^steepest
__device__ void scales(const Cells &c, long long steepest) {
    const long long n = c.n;
    Integers exponent = integers(c, EXPONENT), scale = integers(c, SCALE);
    Integers power_down = integers(c, POWER), power_up = integers(c, POWER + 1);
    for (long long i = 0; i < n; i++) scale[i] = exponent[i];
    long long carried = scale[n - 1];
    for (long long k = 0; k < 2 * n; k++) {  // twice around a ring; at walls there is no jump
        const long long i = k < n ? k : k - n;
        carried = larger(scale[i], carried - steepest + power_down[i]);
        scale[i] = carried;
    }
    carried = scale[0];
    for (long long k = 2 * n - 1; k >= 0; k--) {
        const long long i = k < n ? k : k - n;
        carried = larger(scale[i], carried - steepest + power_up[i]);
        scale[i] = carried;
    }
}

// rate 2^higher, for higher > 0, from the logarithm where the rate has underflowed
__device__ double times_power(double rate, double log_rate, long long higher) {
    if (higher <= 0 || log_rate == -INFINITE) return rate;
    if (rate < SMALL) {
        const double k = floor(log_rate / (LN2_HIGH + LN2_LOW));
        return times_two_to(split_exponential(log_rate, k), (long long)k + higher);
    }
    const long long most = smaller(higher, 2000LL), first = most / 2;  // in two parts, as 2^higher alone may overflow
    return ldexp(ldexp(rate, (int)first), (int)(most - first));
}

// f, and the jump rates, in units of 2^scale; parts as in the Python text
template <bool periodic>
__device__ void rescale(const Cells &c, Values f) {
    const long long n = c.n;
    Values mantissa = array(c, Scratch<periodic>::MANTISSA);
    Integers exponent = integers(c, EXPONENT), scale = integers(c, SCALE);
    for (long long i = 0; i < n; i++) {
        const long long own = scale[i];
        f[i] = times_two_to(mantissa[i], exponent[i] - own);
        for (int side = 0; side < 2; side++) {
            const long long other = side == 0 ? (i == 0 ? n - 1 : i - 1) : (i == n - 1 ? 0 : i + 1);
            const long long higher = scale[other] - own;
            const long long parts = Scratch<periodic>::PARTS + side;
            array(c, parts)[i] = times_power(c.rate(side, i), c.log_rate(side, i), higher);
            array(c, parts + 2)[i] = times_two_to(1.0, smaller(higher, 0LL));
            array(c, parts + 4)[i] = times_two_to(1.0, smaller(-higher, 0LL));
        }
    }
}

// mantissa 2^exponent <- f 2^scale, or what has not jumped from the state before: all there is, far from the rest
__device__ void note(const Cells &c, Values f, Values mantissa, double length) {
    Integers exponent = integers(c, EXPONENT), scale = integers(c, SCALE);
    for (long long i = 0; i < c.n; i++) {
        const double old = mantissa[i];
        if (f[i] < SMALL && old > 0.0) {
            const double stays =
                log2(old) + exponent[i] - length * (c.down_rate(i) + c.up_rate(i)) / (LN2_HIGH + LN2_LOW);
            if (!(f[i] > 0.0 && log2(f[i]) + scale[i] >= stays)) {
                const double k = floor(stays);
                mantissa[i] = exp2(stays - k);
                exponent[i] = (long long)k;
                continue;
            }
        }
        int k = 0;
        mantissa[i] = frexp(f[i], &k);
        exponent[i] = mantissa[i] != 0.0 ? scale[i] + k : NOWHERE;
    }
}

// Largest relative difference; infinite where the half is not positive
__device__ double disagreement(Values half, Values whole, long long n) {
    double error = 0.0;
    for (long long i = 0; i < n; i++) {
        const double difference = half[i] > 0.0 ? fabs(half[i] - whole[i]) / half[i] : INFINITE;
        error = difference > error || difference != difference ? difference : error;
    }
    return error;
}

// Log2 of a scaled jump rate over the largest, at most, for a series of x
__device__ long long steepest_power(double x, double fastest) {
    return (long long)smaller(floor(log2(WIDE_GROWTH / x)), MOST_SCALED - larger(0.0, ceil(log2(fastest))));
}

// f <- e^(time L) f; if `wide`, f stands for its logarithm. Returns whether it came to an end.
template <bool wide, bool periodic>
__device__ bool advance(const Cells &c, Values f, double time, double tolerance, const double *poles) {
    const long long n = c.n;
    double rate = 0.0;
    for (long long i = 0; i < n; i++) rate = larger(rate, c.down_rate(i) + c.up_rate(i));
    rate *= SHARE;
    double longest = SERIES / rate;  // of a series
    if (wide) longest = smaller(WIDE_SERIES / rate, time / (double)((n + REACH - 1) / REACH));
    Values whole = array(c, WHOLE), half = array(c, HALF), mantissa = array(c, Scratch<periodic>::MANTISSA);
    if (wide) {
        powers(c, rate);
        split(c, f, mantissa, integers(c, EXPONENT));
    }
    double done = 0.0, h = time;  // what is smooth may take the whole time at once
    long long waiting = 0, patience = 1;  // series until the second way is tried again
    for (long long part = 0; part < MOST_PARTS; part++) {
        const double left = time - done;
        const bool brief = h <= longest || left <= longest || waiting > 0;
        const double length = smaller(left, brief ? longest : h);
        if (wide) {
            scales(c, steepest_power(smaller(length, longest) * rate, rate));
            rescale<periodic>(c, f);
        }
        if (brief) {
            series<wide, periodic>(c, f, length * rate, rate);
            h = 2 * longest;
            waiting = larger(waiting - 1, 0LL);
        } else {
            rational<wide, periodic>(c, f, whole, length, poles);
            rational<wide, periodic>(c, f, half, length / 2, poles);
            rational<wide, periodic>(c, half, half, length / 2, poles);
            const double error = disagreement(half, whole, n);
            double factor = LEAP;
            if (!(error <= EXACT)) factor = SAFETY * pow(tolerance / (GAIN * error), 1.0 / (2 * POLES));
            const double most = error <= EXACT ? LEAP : GROWTH, least = error <= HOPELESS ? CUT : PLUNGE;
            h = length * smaller(most, factor > least ? factor : least);
            if (!(GAIN * error <= tolerance)) {
                if (h <= longest) {
                    waiting = patience;
                    patience = smaller(2 * patience, (long long)PATIENCE);
                }
                continue;
            }
            patience = 1;
            for (long long i = 0; i < n; i++) f[i] = half[i];
        }
        if (wide) note(c, f, mantissa, length);
        if (length == left) {
            if (wide) {
                Integers exponent = integers(c, EXPONENT);
                for (long long i = 0; i < n; i++)
                    f[i] = log(mantissa[i]) + exponent[i] * LN2_LOW + exponent[i] * LN2_HIGH;
            }
            return true;
        }
        if (done + length == done) return false;
        done += length;
    }
    return false;
}

// One thread per line of f (n, stride), from number `first` on; scratch and integers have room for `lines` lines.
// good[line] tells whether the line came to an end.
#define SWEEP(NAME, WIDE, PERIODIC)                                                                                   \
    extern "C" __global__ void NAME(double *f, const double *down, const double *up, const double *log_down,          \
                                    const double *log_up, double *scratch, long long *whole_numbers,                  \
                                    const double *poles, long long *good, long long n, long long first,               \
                                    long long lines, long long stride, double time, double tolerance) {               \
        const long long own = (long long)blockIdx.x * blockDim.x + threadIdx.x;                                       \
        if (own >= lines) return;                                                                                     \
        const long long line = first + own;                                                                           \
        const Cells cells = {n,           stride,        lines,         down + line,        up + line,                \
                             log_down + line, log_up + line, scratch + own, whole_numbers + own};                     \
        good[line] = advance<WIDE, PERIODIC>(cells, Values{f + line, stride}, time, tolerance, poles);                \
    }

SWEEP(sweep_walls, false, false)
SWEEP(sweep_ring, false, true)
SWEEP(sweep_wide_walls, true, false)
SWEEP(sweep_wide_ring, true, true)
