#include "experiments/store/tensor_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "experiments/store/hdf5_file.hpp"
#include "experiments/store/result_store.hpp"
#include "kernels_ref/errors.hpp"
#include "tests/experiments/temporary_folder.hpp"

// Under the leak checker: the HDF5 library itself leaks when a file is damaged.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libhdf5";
}

namespace ospsim {
namespace {

using Bits = std::vector<std::uint64_t>;
using Floats = std::vector<float>;
using Shape = std::vector<std::int64_t>;

/// The `size` low bytes of each number, the lowest first.
std::string little(const Bits& numbers, int size) {
  std::string bytes;
  for (const auto number : numbers)
    for (int i = 0; i < size; ++i) bytes += static_cast<char>(number >> 8 * i);
  return bytes;
}
std::string big(const Bits& numbers, int size) {
  std::string bytes = little(numbers, size);
  for (auto at = bytes.begin(); at != bytes.end(); at += size) std::reverse(at, at + size);
  return bytes;
}
std::string float_bytes(float value) {
  return little({std::bit_cast<std::uint32_t>(value)}, 4);
}

// Subnormals, both zeros, the largest numbers, infinities and NaN as they are stored, and what they
// are as float32.
const Bits halves{0x0001, 0x83ff, 0x0400, 0x8000, 0x3c01, 0x7bff, 0xfc00, 0x7e01};
const Floats of_halves{0x1p-24f, -0x1.ff8p-15f, 0x1p-14f, -0.0f, 0x1.004p0f, 65504, -INFINITY, NAN};
const Bits brains{0x0001, 0x8000, 0x3f81, 0xff7f, 0x7f80, 0xffc0};
const Floats of_brains{0x1p-133f, -0.0f, 0x1.02p0f, -0x1.fep127f, INFINITY, NAN};
const Bits singles{0x00000001, 0x80000000, 0x3f800001, 0xff7fffff, 0x7f800000, 0x7fc00001};
const Floats of_singles{0x1p-149f, -0.0f, 0x1.000002p0f, -0x1.fffffep127f, INFINITY, NAN};
// The first four and the sixth lie halfway between two floats, the fifth just below such a place.
const Bits doubles{0x3ff0000010000000, 0x3ff0000030000000, 0x3690000000000000, 0x36a8000000000000,
                   0x47efffffefffffff, 0x47effffff0000000, 0x8000000000000000, 0x7ff8000000000000};
const Floats of_doubles{1, 0x1.000004p0f, 0, 0x1p-148f, 0x1.fffffep127f, INFINITY, -0.0f, NAN};

void expect_same(const Floats& values, const Floats& expected) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(expected[i]))
      EXPECT_TRUE(std::isnan(values[i])) << i;
    else
      EXPECT_EQ(std::bit_cast<std::uint32_t>(values[i]), std::bit_cast<std::uint32_t>(expected[i]))
          << i << ": " << values[i];
  }
}

Floats read_all(const TensorFile& file, std::size_t i) {
  Floats values(static_cast<std::size_t>(file.tensors().at(i).elements()));
  file.read(i, 0, values);
  return values;
}

/// Reads tensor i again in pieces of 1, 2, 3, ... elements.
void expect_pieces_make_the_whole(const TensorFile& file, std::size_t i) {
  const Floats whole = read_all(file, i);
  Floats pieces(whole.size());
  for (std::size_t first = 0, size = 1; first < whole.size(); first += size, ++size)
    file.read(i, static_cast<std::int64_t>(first),
              std::span(pieces).subspan(first, std::min(size, whole.size() - first)));
  EXPECT_EQ(pieces, whole);
}

class TensorFiles : public testing::Test {
 protected:
  TemporaryFolder folder;

  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder.file(name), std::ios::binary) << bytes;
    return folder.file(name);
  }
};

/// Expects that f throws an InputError of one line which begins with `path` and contains `part`.
template <class F>
void expect_refused(const F& f, const std::string& path, const std::string& part) {
  try {
    f();
    ADD_FAILURE() << "accepted; expected: " << part;
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with(path + ": ")) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}
void expect_refused(const std::string& path, const std::string& part) {
  expect_refused([&] { TensorFile::open(path); }, path, part);
}

class Npy : public TensorFiles {
 protected:
  static std::string file(const std::string& header, const std::string& data, unsigned version = 1,
                          unsigned minor = 0) {
    return "\x93NUMPY" + little({version, minor}, 1) +
           little({header.size()}, version == 1 ? 2 : 4) + header + data;
  }
  static std::string header(const std::string& descr, const std::string& shape,
                            const std::string& fortran_order = "False") {
    return fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}     \n", descr,
                       fortran_order, shape);
  }
  TensorFile open(const std::string& bytes) const {
    return TensorFile::open(write("x.npy", bytes));
  }
  void refuses(const std::string& bytes, const std::string& part) const {
    expect_refused(write("x.npy", bytes), part);
  }
};

TEST_F(Npy, ReadsEveryTypeInBothByteOrders) {
  const auto check = [&](const std::string& descr, const std::string& data, const char* dtype,
                         const Floats& expected) {
    const auto read = open(file(header(descr, fmt::format("({},)", expected.size())), data));
    ASSERT_EQ(read.tensors().size(), 1u) << descr;
    EXPECT_EQ(read.tensors()[0].name, "x");
    EXPECT_EQ(read.tensors()[0].dtype, dtype) << descr;
    expect_same(read_all(read, 0), expected);
  };
  check("<f2", little(halves, 2), "F16", of_halves);
  check(">f2", big(halves, 2), "F16", of_halves);
  check("<f4", little(singles, 4), "F32", of_singles);
  check("=f4", little(singles, 4), "F32", of_singles);
  check("|f4", little(singles, 4), "F32", of_singles);
  check(">f4", big(singles, 4), "F32", of_singles);
  check("<f8", little(doubles, 8), "F64", of_doubles);
  check(">f8", big(doubles, 8), "F64", of_doubles);
  check("<V2", little(brains, 2), "BF16", of_brains);
  check("bfloat16", little(brains, 2), "BF16", of_brains);
}

TEST_F(Npy, WidensEveryHalfAndBfloat16) {
  Bits all(0x10000);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  const auto expected = [](unsigned bits, int fraction_bits, int bias, int top) {
    const int exponent = static_cast<int>((bits & 0x7fff) >> fraction_bits);
    const int fraction = static_cast<int>(bits & ((1u << fraction_bits) - 1));
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    if (exponent == top) return fraction == 0 ? sign * INFINITY : NAN;
    const int significand = exponent == 0 ? fraction : fraction + (1 << fraction_bits);
    return sign * static_cast<float>(
                      std::ldexp(significand, std::max(exponent, 1) - bias - fraction_bits));
  };
  Floats of_f16, of_bf16;
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    of_f16.push_back(expected(bits, 10, 15, 31));
    of_bf16.push_back(expected(bits, 7, 127, 255));
  }
  expect_same(read_all(open(file(header("<f2", "(65536,)"), little(all, 2))), 0), of_f16);
  expect_same(read_all(open(file(header("<V2", "(65536,)"), little(all, 2))), 0), of_bf16);
}

TEST_F(Npy, ReadsEveryVersionAndSpelling) {
  const std::string data = little({0x3f800000, 0x40000000}, 4);
  for (const unsigned version : {1u, 2u, 3u})
    expect_same(read_all(open(file(header("<f4", "(2, 1)"), data, version)), 0), {1, 2});
  for (const char* spelled :
       {R"({"shape":(1,2),"fortran_order":False,"descr":"<f4"})",
        "{ 'fortran_order' : False , 'descr' : '<f4' , 'shape' : ( 1L , 2L , ) , }\n"})
    EXPECT_EQ(open(file(spelled, data)).tensors()[0].shape, (Shape{1, 2})) << spelled;
  EXPECT_EQ(open(file(header("<f4", "()"), little({1}, 4))).tensors()[0].shape, Shape{});
  EXPECT_EQ(open(file(header("<f4", "(3, 0)"), "")).tensors()[0].elements(), 0);
  EXPECT_EQ(open(file(header("<f4", "(2,)", "True"), data)).tensors()[0].shape, Shape{2});
}

TEST_F(Npy, RefusesWhatItCannotRead) {
  refuses("", "not a .npy file");
  refuses("PK\x03\x04", "not a .npy file");
  refuses("\x93NUMPY\x01", "ends in its header");
  refuses(file(header("<f4", "(1,)"), "").substr(0, 40), "ends in its header");
  refuses(std::string("\x93NUMPY\x02\x00\xff\xff", 10), "ends in its header");
  refuses(file(header("<f4", "()"), "", 4), ".npy version 4.0");
  refuses(file(header("<f4", "()"), "", 1, 1), ".npy version 1.1");
  refuses(file(header("<f4", "(2, 2)", "True"), little({0, 0, 0, 0}, 4)), "Fortran order");
  refuses(file(header("<f4", "(2,)"), "1234567"), "holds 7 bytes of data; [2] of <f4 needs 8");
  refuses(file(header("<f4", "(2,)"), "123456789"), "holds 9 bytes of data; [2] of <f4 needs 8");
  refuses(file(header("<f8", "(4294967296, 4294967296)"), ""), "more than can be counted");
  refuses(file(header("<f8", "(9223372036854775807, 2, 0)"), ""), "more than can be counted");
  for (const char* other : {"<i8", "|b1", "<f16", "<c8", "|V2", "|O", "<U3", "f1", "<f1", "", "V2"})
    refuses(file(header(other, "()"), "12345678"), std::string(other) + " is not one of F64, F32");
  refuses(file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", ""), "records");
}

TEST_F(Npy, RefusesEveryDamagedHeader) {
  const std::string sound = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}";
  ASSERT_EQ(open(file(sound, "12345678")).tensors().size(), 1u);
  for (std::size_t kept = 0; kept < sound.size(); ++kept)
    refuses(file(sound.substr(0, kept), "12345678"), "its header is not a dictionary");
  for (const char* damaged :
       {"{}", "{'descr': '<f4', 'fortran_order': False}", "{'descr': '<f4', 'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [2]}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} 1"})
    refuses(file(damaged, "12345678"), "its header is not a dictionary");
  refuses(file("{'descr': '<\nf4'", ""), "control characters");
}

class Safetensors : public TensorFiles {
 protected:
  static std::string file(const std::string& header, const std::string& data) {
    return little({header.size()}, 8) + header + data;
  }
  static std::string entry(const std::string& name, const std::string& dtype,
                           const std::string& shape, std::size_t begin, std::size_t end) {
    return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, dtype,
                       shape, begin, end);
  }
  static std::string one(const std::string& dtype, const std::string& shape, std::size_t size) {
    return file("{" + entry("x", dtype, shape, 0, size) + "}", std::string(size, 0));
  }
  TensorFile open(const std::string& bytes) const {
    return TensorFile::open(write("x.safetensors", bytes));
  }
  void refuses(const std::string& bytes, const std::string& part) const {
    expect_refused(write("x.safetensors", bytes), part);
  }
};

TEST_F(Safetensors, ReadsEveryType) {
  const std::string data =
      little(halves, 2) + little(brains, 2) + little(singles, 4) + little(doubles, 8);
  // Not in the order of the data; and padded, as the format's own library does.
  const auto read =
      open(file("{" + entry("d", "F64", "[2,4]", 52, 116) + "," +
                    R"("__metadata__":{"format":"pt","note":"two\nlines"},)" +
                    entry("h", "F16", "[8]", 0, 16) + "," + entry("b", "BF16", "[2,3]", 16, 28) +
                    "," + entry("s", "F32", "[6,1]", 28, 52) + "}   ",
                data));
  ASSERT_EQ(read.tensors().size(), 4u);
  EXPECT_EQ(read.tensors()[0].name, "h");
  EXPECT_EQ(read.tensors()[3].name, "d");
  EXPECT_EQ(read.tensors()[3].dtype, "F64");
  EXPECT_EQ(read.tensors()[3].shape, (Shape{2, 4}));
  expect_same(read_all(read, 0), of_halves);
  expect_same(read_all(read, read.index_of("b")), of_brains);
  expect_same(read_all(read, read.index_of("s")), of_singles);
  expect_same(read_all(read, read.index_of("d")), of_doubles);
}

TEST_F(Safetensors, ReadsPiecesScalarsAndEmptyTensors) {
  std::string data;
  for (int i = 0; i < 1000; ++i) data += float_bytes(1.5f * static_cast<float>(i));
  const auto read = open(file("{" + entry("none", "F32", "[3,0]", 0, 0) + "," +
                                  entry("scalar", "F32", "[]", 0, 4) + "," +
                                  entry("odd", "F32", "[27,37]", 4, 4000) + "}",
                              data));
  ASSERT_EQ(read.tensors().size(), 3u);
  EXPECT_TRUE(read_all(read, 0).empty());
  EXPECT_EQ(read_all(read, 1), Floats{0});
  EXPECT_EQ(read_all(read, 2)[998], 1498.5f);
  expect_pieces_make_the_whole(read, 2);
  Floats three(3);
  EXPECT_THROW(read.read(2, 997, three), std::out_of_range);
  EXPECT_THROW(read.read(2, -1, three), std::out_of_range);
  EXPECT_THROW(read.read(2, 1000, {}), std::out_of_range);
  EXPECT_THROW(read.read(3, 0, three), std::out_of_range);
}

TEST_F(Safetensors, SkipsOtherTypesAndSaysWhy) {
  const auto read = open(file(
      "{" + entry("ids", "I64", "[1]", 0, 8) + "," + entry("w", "F16", "[1]", 8, 10) + "," +
          entry("tiny", "F4", "[2,3]", 10, 13) + "," + entry("new", "Q5_K", "[7]", 13, 14) + "}",
      std::string(14, 0)));
  ASSERT_EQ(read.tensors().size(), 1u);
  ASSERT_EQ(read.skipped().size(), 3u);
  EXPECT_EQ(read.skipped()[0].name, "ids");
  EXPECT_EQ(read.skipped()[0].reason, "I64 is not one of F64, F32, F16, BF16");
  EXPECT_EQ(read.skipped()[2].reason, "Q5_K is not one of F64, F32, F16, BF16");
  const std::string path = folder.file("x.safetensors");
  expect_refused([&] { read.index_of("ids"); }, path, "'ids' cannot be read: I64 is not one of");
  expect_refused([&] { read.index_of("v"); }, path, "has no tensor 'v'; it has 'w'");
  for (const char* dtype :
       {"F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0", "BOOL", "U8", "I8"})
    refuses(one(dtype, "[5]", 5), fmt::format("no floating-point tensor ('x': {} is not", dtype));
  for (const char* dtype : {"F6_E2M3", "F6_E3M2"})
    refuses(one(dtype, "[4]", 3), fmt::format("no floating-point tensor ('x': {} is not", dtype));
  for (const char* dtype : {"I16", "U16"}) refuses(one(dtype, "[5]", 10), "no floating-point");
  for (const char* dtype : {"I32", "U32"}) refuses(one(dtype, "[5]", 20), "no floating-point");
  for (const char* dtype : {"U64", "C64"}) refuses(one(dtype, "[5]", 40), "no floating-point");
  refuses(file("{}", ""), "has no floating-point tensor");
}

TEST_F(Safetensors, RefusesDamagedHeaders) {
  refuses("", "shorter than 8 bytes");
  refuses("1234567", "shorter than 8 bytes");
  refuses(little({3}, 8) + "{}", "claims a header of 3 bytes, but 2 follow");
  refuses(little({100'000'001}, 8) + "{}", "the format allows 100000000");
  refuses(little({~std::uint64_t{0}}, 8) + "{}", "the format allows 100000000");
  refuses(file("", ""), "does not begin with '{'");
  refuses(file(" {}", ""), "does not begin with '{'");
  refuses(file("[]", ""), "does not begin with '{'");
  refuses(file("{", ""), "its header is not JSON");
  refuses(file("{} {}", ""), "its header is not JSON");
  refuses(file("{\"\xff\":{}}", ""), "its header is not JSON");
  refuses(file(R"({"__metadata__":{"a":1}})", ""), "__metadata__ is not an object of texts");
  refuses(file(R"({"__metadata__":["a"]})", ""), "__metadata__ is not an object of texts");
  refuses(file(R"({"a\nb":{}})", ""), "control characters");
  const std::string x = entry("x", "F32", "[1]", 0, 4);
  refuses(file("{" + x + "," + x + "}", "1234"), "has 'x' twice");
  refuses(file(R"({"x":{"dtype":"F32","dtype":"F32"}})", ""), "has 'dtype' twice");
  refuses(file(R"({"x":)" + std::string(1'000'000, '[') + "}", ""), "nests deeper than 3");
  refuses(file(R"({"x":{"shape":[0,)" + fmt::format("{}", fmt::join(std::vector<int>(1000), ",")) +
                   "]}}",
               ""),
          "an array of more than 1000 values");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"a":)";
  refuses(file(objects, ""), "nests deeper than 3");
}

TEST_F(Safetensors, ReadsAHeaderOfManyTensors) {
  std::vector<std::string> entries{entry("x", "F32", "[1]", 0, 4)};
  for (int i = 0; i < 100'000; ++i)
    entries.push_back(entry(fmt::format("{}", i), "F16", "[0]", 4, 4));
  const auto read = open(file(fmt::format("{{{}}}", fmt::join(entries, ",")), "1234"));
  EXPECT_EQ(read.tensors().size(), 100'001u);
}

TEST_F(Safetensors, RefusesEntriesThatDescribeNoTensor) {
  for (const char* value :
       {"1", "[]", "{}", R"({"shape":[1],"data_offsets":[0,4]})",
        R"({"dtype":"F32","data_offsets":[0,4]})", R"({"dtype":"F32","shape":[1]})",
        R"({"dtype":4,"shape":[1],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":["1"],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[0]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,8]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[-4,0]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551620]})"})
    refuses(file(fmt::format(R"({{"x":{}}})", value), "1234"), "'x' is not described by");
  refuses(one("F32\\n", "[1]", 4), "control characters");
}

TEST_F(Safetensors, RefusesTensorsThatDoNotFillTheFile) {
  const auto two = [&](std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
    return file("{" + entry("p", "U8", fmt::format("[{}]", b - a), a, b) + "," +
                    entry("q", "U8", fmt::format("[{}]", d - c), c, d) + "}",
                "12345678");
  };
  refuses(two(0, 4, 4, 8), "no floating-point");
  refuses(two(0, 4, 5, 8), "bytes 4 to 5 of its data belong to no tensor");
  refuses(two(1, 4, 4, 8), "bytes 0 to 1 of its data belong to no tensor");
  refuses(two(0, 4, 4, 7), "bytes 7 to 8 of its data belong to no tensor");
  refuses(two(0, 5, 4, 8), "'q' overlaps 'p'");
  refuses(two(0, 8, 4, 4), "'q' overlaps 'p'");
  refuses(two(0, 4, 0, 4), "'q' overlaps 'p'");
  refuses(two(0, 4, 4, 9), "'q' ends at byte 9 of the data, but the file holds 8");
  refuses(file("{" + entry("x", "F32", "[1]", 4, 0) + "}", "1234"), "'x' ends at byte 0, before");
  refuses(one("F32", "[2]", 4), "'x' has 4 bytes, which is not [2] of F32");
  refuses(one("I64", "[]", 4), "'x' has 4 bytes, which is not [] of I64");
  refuses(one("F4", "[3]", 1), "'x' has 1 bytes, which is not [3] of F4");
  refuses(one("F32", "[4294967296,1073741824]", 0), "which is not [4294967296, 1073741824] of F32");
  refuses(one("F32", "[9223372036854775807,2,0]", 0), "'x' has 0 bytes");
  refuses(file("{}", "1"), "bytes 0 to 1 of its data belong to no tensor");
  const std::string sound = one("F32", "[2]", 8);
  for (std::size_t kept = 0; kept < sound.size(); ++kept) refuses(sound.substr(0, kept), ": ");
}

class SafetensorsIndex : public Safetensors {
 protected:
  std::string index(const std::string& json) const {
    return write("model.safetensors.index.json", json);
  }
  void refuses_index(const std::string& json, const std::string& part) const {
    expect_refused(index(json), part);
  }
};

TEST_F(SafetensorsIndex, ReadsTensorsInItsOrder) {
  std::filesystem::create_directory(folder.path() / "in");
  write("1.safetensors",
        file("{" + entry("a", "F32", "[1]", 0, 4) + "," + entry("i", "U8", "[1]", 4, 5) + "," +
                 entry("b", "F32", "[1]", 5, 9) + "}",
             little({0x3f800000}, 4) + "1" + little({0x40000000}, 4)));
  write("in/2.safetensors", file("{" + entry("c", "F16", "[1]", 0, 2) + "}", little({0x4200}, 2)));
  const auto read = TensorFile::open(index(
      R"({"metadata":{"total_size":9,"list":[[1]]},"weight_map":
          {"c":"in/2.safetensors","b":"1.safetensors","i":"1.safetensors","a":"1.safetensors"}})"));
  ASSERT_EQ(read.tensors().size(), 3u);
  EXPECT_EQ(read.tensors()[0].name, "c");
  EXPECT_EQ(read_all(read, 0), Floats{3});
  EXPECT_EQ(read_all(read, 1), Floats{2});
  EXPECT_EQ(read_all(read, read.index_of("a")), Floats{1});
  ASSERT_EQ(read.skipped().size(), 1u);
  EXPECT_EQ(read.skipped()[0].name, "i");
}

TEST_F(SafetensorsIndex, OpensMoreShardsThanDescriptors) {
  constexpr int shards = 300;
  std::string map;
  for (int i = 0; i < shards; ++i) {
    const auto header = fmt::format("{{{}}}", entry(fmt::format("t{}", i), "F32", "[1]", 0, 4));
    write(fmt::format("{}.safetensors", i), file(header, float_bytes(static_cast<float>(i))));
    map += fmt::format(R"({}"t{}":"{}.safetensors")", i == 0 ? "" : ",", i, i);
  }
  const std::string path = index(R"({"weight_map":{)" + map + "}}");
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few{100, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  const auto read = TensorFile::open(path);
  setrlimit(RLIMIT_NOFILE, &before);
  for (std::size_t i = 0; i < shards; ++i)
    EXPECT_EQ(read_all(read, i), Floats{static_cast<float>(i)});
}

TEST_F(SafetensorsIndex, RefusesWhatItCannotRead) {
  write("1.safetensors", one("F32", "[1]", 4));
  write("bad.safetensors", "bad");
  refuses_index("", "the index is not JSON");
  refuses_index("[1]", "has no object weight_map");
  refuses_index("{}", "has no object weight_map");
  refuses_index(R"({"weight_map":3})", "has no object weight_map");
  refuses_index(R"({"weight_map":{}})", "has no floating-point tensor");
  refuses_index(R"({"weight_map":{"x":"1.safetensors","x":"1.safetensors"}})", "has 'x' twice");
  refuses_index(R"({"weight_map":{"y":"1.safetensors"}})", "'y' is not in '1.safetensors'");
  refuses_index(R"({"weight_map":{"x":"a\nb"}})", "control characters");
  refuses_index(std::string(1'000'000, '['), "nests deeper than 8");
  for (const char* file : {"1", "null", R"("")", R"("/etc/passwd")", R"("../1.safetensors")",
                           R"("a/../1.safetensors")", R"("..")", R"("a/")"})
    refuses_index(fmt::format(R"({{"weight_map":{{"x":{}}}}})", file),
                  "'x' is not mapped to a file below the index's folder");
  for (const auto& [file, part] : {std::pair("2.safetensors", "cannot be opened"),
                                   std::pair("bad.safetensors", "shorter than 8 bytes"),
                                   std::pair(".", "is not a regular file")}) {
    const auto path = index(fmt::format(R"({{"weight_map":{{"x":"{}"}}}})", file));
    expect_refused([&] { TensorFile::open(path); }, folder.file(file), part);
  }
}

class Hdf5Tensors : public TensorFiles {
 protected:
  std::string path = folder.file("x.h5");

  /// A dataset of a type that Hdf5File itself does not write; chunked if a chunk is given.
  static void add(hid_t file, const char* name, hid_t type, const std::vector<hsize_t>& shape,
                  const void* values, const std::vector<hsize_t>& chunk = {}) {
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    if (!chunk.empty()) H5Pset_chunk(creation, static_cast<int>(chunk.size()), chunk.data());
    const hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    EXPECT_GE(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
    H5Dclose(dataset);
    H5Pclose(creation);
    H5Sclose(space);
  }
  static hid_t sixteen_bits(std::size_t fraction_bits, std::size_t bias, H5T_order_t order) {
    const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    H5Tset_fields(type, 15, fraction_bits, 15 - fraction_bits, 0, fraction_bits);
    H5Tset_size(type, 2);
    H5Tset_ebias(type, bias);
    H5Tset_order(type, order);
    return type;
  }
};

TEST_F(Hdf5Tensors, ReadsEveryTypeInBothByteOrders) {
  Hdf5File::create(path, path).close();
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const auto save = [&](const char* name, hid_t type, hsize_t count, const std::string& bytes) {
    add(file, name, type, {count}, bytes.data());
  };
  save("f2", sixteen_bits(10, 15, H5T_ORDER_LE), 8, little(halves, 2));
  save("F2", sixteen_bits(10, 15, H5T_ORDER_BE), 8, big(halves, 2));
  save("b2", sixteen_bits(7, 127, H5T_ORDER_LE), 6, little(brains, 2));
  save("f4", H5T_IEEE_F32LE, 6, little(singles, 4));
  save("F4", H5T_IEEE_F32BE, 6, big(singles, 4));
  save("f8", H5T_IEEE_F64LE, 8, little(doubles, 8));
  save("F8", H5T_IEEE_F64BE, 8, big(doubles, 8));
  H5Fclose(file);
  const TensorFile read = TensorFile::open(path);
  ASSERT_EQ(read.tensors().size(), 7u);
  EXPECT_EQ(read.tensors()[0].name, "F2");
  for (const char* name : {"f2", "F2"}) expect_same(read_all(read, read.index_of(name)), of_halves);
  expect_same(read_all(read, read.index_of("b2")), of_brains);
  for (const char* name : {"f4", "F4"})
    expect_same(read_all(read, read.index_of(name)), of_singles);
  for (const char* name : {"f8", "F8"})
    expect_same(read_all(read, read.index_of(name)), of_doubles);
  EXPECT_EQ(read.tensors()[read.index_of("b2")].dtype, "BF16");
}

TEST_F(Hdf5Tensors, ReadsPiecesOfAnyShape) {
  Hdf5File writer = Hdf5File::create(path, path);
  const std::vector<Shape> shapes{{},       {0},         {1},          {360},
                                  {360, 1}, {1, 1, 360}, {3, 4, 5, 6}, {8, 45}};
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    Floats values(i == 1 ? 0 : i == 0 || i == 2 ? 1 : 360);
    for (std::size_t j = 0; j < values.size(); ++j) values[j] = static_cast<float>(j) + 0.25f;
    writer.write<float>(fmt::format("group/{}", i), shapes[i], values);
  }
  writer.close();
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  std::vector<double> values(360);
  for (std::size_t j = 0; j < values.size(); ++j) values[j] = static_cast<double>(j) + 0.25;
  add(file, "group/chunked", H5T_NATIVE_DOUBLE, {5, 8, 9}, values.data(), {2, 3, 4});
  H5Fclose(file);
  const TensorFile read = TensorFile::open(path);
  ASSERT_EQ(read.tensors().size(), shapes.size() + 1);
  for (std::size_t i = 0; i < read.tensors().size(); ++i) {
    if (i < shapes.size()) {
      EXPECT_EQ(read.tensors()[i].name, fmt::format("group/{}", i));
      EXPECT_EQ(read.tensors()[i].shape, shapes[i]);
    }
    const Floats whole = read_all(read, i);
    for (std::size_t j = 0; j < whole.size(); ++j)
      EXPECT_EQ(whole[j], static_cast<float>(j) + 0.25f);
    expect_pieces_make_the_whole(read, i);
  }
}

TEST_F(Hdf5Tensors, SkipsWhatIsNoFloatAndFollowsNoLinks) {
  Hdf5File writer = Hdf5File::create(path, path);
  writer.write<std::int64_t>("whole", {}, std::vector<std::int64_t>{1});
  writer.write_texts("text", {}, std::vector<std::string>{"t"});
  writer.write<float>("real", {}, std::vector{1.0f});
  writer.close();
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const long double wide = 1;
  add(file, "wide", H5T_NATIVE_LDOUBLE, {1}, &wide);
  H5Lcreate_soft("/real", file, "alias", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external("elsewhere.h5", "/x", file, "elsewhere", H5P_DEFAULT, H5P_DEFAULT);
  const hid_t nothing = H5Screate(H5S_NULL);
  H5Dclose(
      H5Dcreate2(file, "empty", H5T_IEEE_F32LE, nothing, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Sclose(nothing);
  H5Fclose(file);
  const TensorFile read = TensorFile::open(path);
  ASSERT_EQ(read.tensors().size(), 2u);
  EXPECT_EQ(read.tensors()[read.index_of("empty")].elements(), 0);
  EXPECT_EQ(read_all(read, read.index_of("real")), Floats{1});
  ASSERT_EQ(read.skipped().size(), 3u);
  expect_refused([&] { read.index_of("whole"); }, path, "'whole' cannot be read: integer is not");
  expect_refused([&] { read.index_of("text"); }, path, "'text' cannot be read: text is not one of");
  expect_refused([&] { read.index_of("wide"); }, path, "this floating-point type is not one of");
}

TEST_F(Hdf5Tensors, ReadsResultFiles) {
  save_result({{"number", 1.5}, {"rows", {{{"x", 0.5}}, {{"x", 2}}}}}, Json::object(), path);
  const TensorFile read = TensorFile::open(path);
  EXPECT_EQ(read_all(read, read.index_of("rows/x")), (Floats{0.5, 2}));
}

TEST_F(Hdf5Tensors, RefusesWhatItCannotRead) {
  expect_refused(folder.file("none.h5"), "cannot be opened");
  expect_refused(write("y.h5", "not HDF5"), "is not an HDF5 file");
  Hdf5File::create(path, path).close();
  expect_refused(path, "has no floating-point tensor");
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const hsize_t huge[] = {hsize_t{1} << 32, hsize_t{1} << 31};
  const hsize_t chunk[] = {1, 1};
  const hid_t space = H5Screate_simple(2, huge, nullptr), creation = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(creation, 2, chunk);
  H5Dclose(H5Dcreate2(file, "huge", H5T_IEEE_F32LE, space, H5P_DEFAULT, creation, H5P_DEFAULT));
  H5Pclose(creation);
  H5Sclose(space);
  H5Fclose(file);
  expect_refused(path, "'huge' has the shape [4294967296, 2147483648], more than can be counted");
}

TEST_F(Hdf5Tensors, RefusesEveryTruncation) {
  Hdf5File writer = Hdf5File::create(path, path);
  writer.write<float>("a/b", Shape{2, 50}, Floats(100, 1.0f));
  writer.close();
  for (auto kept = std::filesystem::file_size(path) - 1; kept > 0; kept = kept * 9 / 10) {
    std::filesystem::resize_file(path, kept);
    expect_refused(path, ": ");
  }
}

TEST_F(TensorFiles, AreToldApartByContentIfNotByExtension) {
  const std::string literal = "{'descr': '<f4', 'fortran_order': False, 'shape': ()}";
  const std::string npy =
      "\x93NUMPY" + little({1, 0}, 1) + little({literal.size()}, 2) + literal + "1234";
  EXPECT_EQ(TensorFile::open(write("a.b.npy", npy)).tensors()[0].name, "a.b");
  EXPECT_EQ(TensorFile::open(write("array", npy)).tensors()[0].name, "array");
  const std::string header = R"({"x":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})";
  write("weights", little({header.size()}, 8) + header + "1234");
  EXPECT_EQ(TensorFile::open(folder.file("weights")).tensors()[0].name, "x");
  Hdf5File hdf5 = Hdf5File::create(folder.file("data"), "data");
  hdf5.write<float>("y", {}, Floats{1});
  hdf5.close();
  EXPECT_EQ(TensorFile::open(folder.file("data")).tensors()[0].name, "y");
  expect_refused(write("z.npz", "PK\x03\x04"), "none of .npy, .safetensors");
  expect_refused(write("empty", ""), "none of .npy, .safetensors");
  expect_refused(folder.path().string(), "is not a regular file");
  expect_refused(folder.file("none"), "cannot be opened (No such file");
  ASSERT_EQ(mkfifo(folder.file("pipe.npy").c_str(), 0600), 0);
  expect_refused(folder.file("pipe.npy"), "is not a regular file");
}

TEST_F(TensorFiles, AreNamedWithOrWithoutATensor) {
  const auto parsed = [&](const std::string& text) {
    const auto [path, name] = parse_tensor_argument(folder.file(text));
    return std::filesystem::path(path).filename().string() + " " + name.value_or("-");
  };
  write("a", "");
  write("a:b", "");
  EXPECT_EQ(parsed("a"), "a -");
  EXPECT_EQ(parsed("a:w"), "a w");
  EXPECT_EQ(parsed("a:"), "a ");
  EXPECT_EQ(parsed("a:b"), "a:b -");
  EXPECT_EQ(parsed("a:b:c:d/e"), "a:b c:d/e");
  EXPECT_EQ(parsed("a:c:d"), "a c:d");
  EXPECT_EQ(parsed("none:w"), "none:w -");
  EXPECT_EQ(parse_tensor_argument("").path, "");
  EXPECT_EQ(parse_tensor_argument(":").path, ":");
}

}  // namespace
}  // namespace ospsim
