#include "experiments/device/measure.cuh"
#include "kernels_ref/block/gelu.hpp"
#include "kernels_ref/block/linear.hpp"

/// The products of a block by cuBLASLt, at the rows of one device and of one of 2, 4 and 8, in bf16
/// and from e4m3: what 8-bit tensor cores would make of them.
namespace ospsim {
namespace {

/// The operands of a product as double precision sees them.
class Operand {
 public:
  Operand(CudaExecutor& on, const DeviceBuffer<Bfloat16>& numbers,
          const DeviceBuffer<std::uint8_t>& codes, bool eight_bits)
      : on_(on), numbers_(numbers), codes_(codes), eight_bits_(eight_bits) {}

  const void* data() const {
    return eight_bits_ ? static_cast<const void*>(codes_.data()) : numbers_.data();
  }
  std::vector<double> read(std::int64_t first, std::int64_t size) const {
    if (!eight_bits_) return download_bf16(on_, numbers_.data() + first, size);
    std::vector<double> to;
    for (const auto code : download(on_, codes_.data() + first, size))
      to.push_back(decode(Format::e4m3, code));
    return to;
  }

 private:
  CudaExecutor& on_;
  const DeviceBuffer<Bfloat16>& numbers_;
  const DeviceBuffer<std::uint8_t>& codes_;
  bool eight_bits_;
};

/// What sums of e4m3 products may be off by, relative to their deviation: Hopper's tensor cores add
/// products 32 at a time and keep some 14 bits of the sum (arXiv 2412.19437, section 3.3.2), which
/// with fast accumulation no wider sum takes over.
double sum_tolerance(const Product& product) {
  return product.operands == Product::Operands::e4m3
             ? static_cast<double>(product.shape.in) / 32 * 0x1p-13
             : 0;
}

/// Every 64th row and every 64th column of y, which sees every tile of it.
template <class T>
Check check_stripes(CudaExecutor& on, const Product& product, const T* x, const T* weight,
                    const Bfloat16* bias, const Bfloat16* y) {
  CompareProduct<T> kernel{.product = product,
                           .x = x,
                           .weight = weight,
                           .bias = bias,
                           .y = y,
                           .floor = std::sqrt(static_cast<double>(product.shape.in))};
  kernel.row_step = 64;
  const double of_rows = largest_error(on, kernel);
  kernel.row_step = 1;
  kernel.column_step = 64;
  return check_of(
      "largest error in every 64th row and every 64th column against a plain kernel, relative to "
      "|y| + its deviation; one rounding to bf16, for e4m3 also 2^-13 for each 32 products",
      std::max(of_rows, largest_error(on, kernel)), half_ulp + sum_tolerance(product));
}

/// A few rows and columns of y against the naive back end.
Check check_product(CudaExecutor& on, const Product& product, const Operand& x,
                    const Operand& weight, const Bfloat16* bias, const Bfloat16* y) {
  const auto& [rows, in, out] = product.shape;
  const std::int64_t count = std::min<std::int64_t>(rows, 16);
  std::vector<double> xs, weights, biases, got;
  const auto some_rows = some_of(rows, count), some_columns = some_of(out, count);
  for (const auto row : some_rows) {
    const auto one = x.read(row * in, in);
    xs.insert(xs.end(), one.begin(), one.end());
    for (const auto column : some_columns)
      got.push_back(download_bf16(on, y + row * out + column, 1)[0]);
  }
  for (const auto column : some_columns) {
    const auto one = weight.read(column * in, in);
    weights.insert(weights.end(), one.begin(), one.end());
    biases.push_back(download_bf16(on, bias + column, 1)[0]);
  }
  std::vector<double> exact(got.size());
  linear_forward<Backend::naive>({count, in, count}, xs, weights, biases, exact);
  if (product.gelu) gelu_tanh_forward<Backend::naive>(std::vector(exact), exact);
  auto rounded = exact;
  for (auto& v : rounded) v = round_to_bf16(static_cast<float>(v));
  return check_of(
      "relative L2 of 256 sampled elements against double precision, at most twice that of one "
      "rounding to bf16, for e4m3 also 2^-13 for each 32 products",
      relative_l2(got, exact), 2 * relative_l2(rounded, exact) + sum_tolerance(product));
}

}  // namespace

void record_linear(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  const std::int64_t dim = sizes.dim(), ffn_dim = sizes.ffn_dim;
  struct Layer {
    const char* name;
    std::int64_t in, out;
    bool gelu;
  };
  const Layer layers[] = {{"projection", dim, dim, false},
                          {"ffn_up", dim, ffn_dim, true},
                          {"ffn_down", ffn_dim, dim, false}};
  const std::int64_t text = sizes.text_tokens,
                     most_rows = std::max(sizes.unpadded.tokens(), 4 * text);
  std::vector<std::int64_t> row_counts{text, 4 * text};
  for (const std::int64_t ranks : {1, 2, 4, 8})
    for (const Grid& grid : {sizes.unpadded, sizes.padded})
      row_counts.push_back(grid.tokens() / ranks);
  const std::int64_t wide = std::max(dim, ffn_dim);
  const auto x = normal_array(on, most_rows * wide, 1);
  const auto weight = normal_array(on, dim * wide, 2), bias = normal_array(on, wide, 3);
  const auto x_codes = e4m3_codes(on, x), weight_codes = e4m3_codes(on, weight);
  auto y = on.array<Bfloat16>(most_rows * wide);
  for (const std::int64_t rows : row_counts)
    for (const auto& layer : layers) {
      if ((rows == text || rows == 4 * text) && &layer != layers) continue;  // the text has no FFN
      for (const auto operands : {Product::Operands::bf16, Product::Operands::e4m3}) {
        const bool eight_bits = operands == Product::Operands::e4m3;
        const Product product{
            .shape = {rows, layer.in, layer.out}, .gelu = layer.gelu, .operands = operands};
        attempt(on, recorder, layer.name, [&] {
          const Operand of_x(on, x, x_codes, eight_bits),
              of_weight(on, weight, weight_codes, eight_bits);
          poison(on, y);
          const auto times_ms = measure_ms(on, sizes, [&] {
            on.linear(Work::projection, product, of_x.data(), of_weight.data(), bias.data(),
                      y.data());
          });
          const Check everywhere =
              eight_bits ? check_stripes(on, product, x_codes.data(), weight_codes.data(),
                                         bias.data(), y.data())
                         : check_stripes(on, product, static_cast<const Bfloat16*>(x.data()),
                                         static_cast<const Bfloat16*>(weight.data()), bias.data(),
                                         y.data());
          const Check check = worst_of(
              {check_of("elements that are not finite or not written",
                        static_cast<double>(not_finite(on, y.data(), rows * layer.out)), 0),
               everywhere, check_product(on, product, of_x, of_weight, bias.data(), y.data())});
          recorder.row({.name = layer.name,
                        .sizes = {{"rows", rows}, {"in", layer.in}, {"out", layer.out}},
                        .notes = {{"operands", eight_bits ? "e4m3" : "bf16"}, {"by", "cuBLASLt"}},
                        .cost = product.cost(),
                        .formula = "2 rows in out",
                        .times_ms = times_ms,
                        .check = check});
        });
      }
    }
}

}  // namespace ospsim
