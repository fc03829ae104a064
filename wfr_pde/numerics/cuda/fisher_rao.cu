// The exact Fisher-Rao step on logarithms, log mu <- s log mu + (1 - s) log pi - log mass, in two passes over the cells.
//
// First every thread sums exp of its cells with a shift of its own, the largest value so far; the caller adds up the
// sums. Then the values are formed again and the logarithm of the mass is subtracted. 40 bytes move per cell.

#define INFINITE __longlong_as_double(0x7ff0000000000000LL)

// Written as a change of log(mu/pi), so that mu = pi stays put to the last bit.
__device__ inline double mixed(double log_mu, double log_pi, double s) { return (log_mu - log_pi) * s + log_pi; }

// top, total: e^top total is the sum over the cells of one thread, of `threads`; log_volume is read where `graded`.
extern "C" __global__ void fisher_rao_sums(const double *log_mu, const double *log_pi, const double *log_volume,
                                           double *top, double *total, long long size, long long threads,
                                           long long graded, double s) {
    const long long own = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (own >= threads) return;
    double shift = -INFINITE, sum = 0.0;
    for (long long q = own; q < size; q += threads) {
        double value = mixed(log_mu[q], log_pi[q], s);
        if (graded) value += log_volume[q];
        if (value > shift) {
            sum = sum * exp(shift - value) + 1.0;
            shift = value;
        } else if (value != -INFINITE) {
            sum += exp(value - shift);
        }
    }
    top[own] = shift;
    total[own] = sum;
}

// result <- s log mu + (1 - s) log pi - log_mass[0]
extern "C" __global__ void fisher_rao_result(const double *log_mu, const double *log_pi, const double *log_mass,
                                             double *result, long long size, double s) {
    const long long q = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (q < size) result[q] = mixed(log_mu[q], log_pi[q], s) - log_mass[0];
}
