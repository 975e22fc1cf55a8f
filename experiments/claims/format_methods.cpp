#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "analysis/quantization_error.hpp"
#include "experiments/claims/methods.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/formats/codec.hpp"

namespace ospsim {
namespace {

/// The value of every code of a format, by code. f16 counts as a format here.
std::vector<float> values_of(const std::string& format) {
  std::vector<float> values;
  if (format == "f16")
    for (int bits = 0; bits < 65536; ++bits)
      values.push_back(to_float(Float16{static_cast<std::uint16_t>(bits)}));
  else
    for (int code = 0; code < 256; ++code)
      values.push_back(decode(parse_format(format), static_cast<std::uint8_t>(code)));
  return values;
}

/// How many positive numbers each binade has. Infinity of hif8 is one of those of its last binade,
/// as it takes the place of 1.5 * 2^15; in the other formats it has an exponent of its own.
std::map<int, int> binades_of(const std::string& format) {
  std::map<int, int> numbers;
  for (const float value : values_of(format)) {
    if (std::isfinite(value) && value > 0) ++numbers[std::ilogb(value)];
    if (format == "hif8" && std::isinf(value) && value > 0) ++numbers[15];
  }
  return numbers;
}

std::string format_of(Arguments& a) {
  const std::string format = a.text("format");
  if (format != "f16") parse_format(format);
  return format;
}

/// A method that counts something in a format.
template <class Count>
Method of_format(Arguments& a, Count count) {
  const std::string format = format_of(a);
  return [=](const Evidence&) -> Value { return static_cast<double>(count(format)); };
}

Method bits(Arguments& a) {
  return of_format(a, [](const std::string& f) { return std::log2(values_of(f).size()); });
}
Method exponents(Arguments& a) {
  return of_format(a, [](const std::string& f) { return binades_of(f).size(); });
}
Method least_exponent(Arguments& a) {
  return of_format(a, [](const std::string& f) { return binades_of(f).begin()->first; });
}
Method largest_exponent(Arguments& a) {
  return of_format(a, [](const std::string& f) { return binades_of(f).rbegin()->first; });
}

int fraction_bits_of(Arguments& a) {
  const std::int64_t bits_wanted = a.whole("fraction_bits", 0);
  if (bits_wanted > 10) throw InputError("its method's 'fraction_bits' is above 10");
  return static_cast<int>(bits_wanted);
}

Method exponents_with_fraction_bits(Arguments& a) {
  const std::string format = format_of(a);
  const int fraction_bits = fraction_bits_of(a);
  return [=](const Evidence&) -> Value {
    const auto binades = binades_of(format);
    return number(std::count_if(binades.begin(), binades.end(), [&](const auto& binade) {
      return binade.second == 1 << fraction_bits;
    }));
  };
}

bool is_kind(float value, const std::string& kind) {
  if (kind == "zero") return value == 0;
  if (kind == "nan") return std::isnan(value);
  return std::isinf(value);
}

std::string kind_of(Arguments& a) {
  const std::string kind = a.text("kind");
  if (kind != "zero" && kind != "nan" && kind != "infinity")
    throw InputError(fmt::format("its method's 'kind' is '{}', not zero, nan or infinity", kind));
  return kind;
}

Method codes_of_kind(Arguments& a) {
  const std::string kind = kind_of(a);
  return of_format(a, [=](const std::string& f) {
    const auto values = values_of(f);
    return std::count_if(values.begin(), values.end(),
                         [&](float value) { return is_kind(value, kind); });
  });
}

/// The first code of a kind.
Method code_of_kind(Arguments& a) {
  const std::string kind = kind_of(a);
  return of_format(a, [=](const std::string& f) {
    const auto values = values_of(f);
    return std::find_if(values.begin(), values.end(),
                        [&](float value) { return is_kind(value, kind); }) -
           values.begin();
  });
}

/// Whether no binade further from 1 has more numbers.
Method precision_tapers(Arguments& a) {
  const std::string format = format_of(a);
  return [=](const Evidence&) -> Value {
    const auto binades = binades_of(format);
    for (const auto& [e, count] : binades) {
      const auto next = binades.find(e < 0 ? e - 1 : e + 1);
      if (next != binades.end() && next->second > count) return false;
    }
    return true;
  };
}

/// The largest number in a binade of so many fraction bits or more.
Method largest_with_fraction_bits(Arguments& a) {
  const int fraction_bits = fraction_bits_of(a);
  return of_format(a, [=](const std::string& f) {
    const auto binades = binades_of(f);
    float largest = 0;
    for (const float value : values_of(f))
      if (std::isfinite(value) && value > 0 &&
          binades.at(std::ilogb(value)) >= (1 << fraction_bits))
        largest = std::max(largest, value);
    return largest;
  });
}

/// Without a scale, standard deviation 1, in closed form.
Method gaussian_sqnr_db(Arguments& a) {
  const auto sqnr_db =
      expected_sqnr_db(parse_number_format(a.text("format")), 1, parse_distribution("normal:0,1"));
  if (!sqnr_db) throw InputError("its method's 'format' has no closed form");
  return [=](const Evidence&) -> Value { return *sqnr_db; };
}

// ---- Of the experiment format-error ------------------------------------------------------------

double field_of(const Json& document, const std::string& table, const std::string& key,
                const std::string& field) {
  if (document.contains(table) && document.at(table).is_array())
    for (const auto& row : document.at(table))
      if (row.is_object() && row.value("key", Json()) == key && row.contains(field) &&
          row.at(field).is_number())
        return row.at(field).get<double>();
  throw UnavailableError(fmt::format("format-error has no '{}' in '{}'", key, table));
}

Method format_error_difference(Arguments& a) {
  const std::string table = a.text("table"), field = a.text("field"), minuend = a.text("minuend"),
                    subtrahend = a.text("subtrahend");
  a.rest_on("format-error");
  return [=](const Evidence& evidence) -> Value {
    const Json& document = evidence.experiment("format-error");
    return field_of(document, table, minuend, field) - field_of(document, table, subtrahend, field);
  };
}

Method format_error_ratio(Arguments& a) {
  const std::string table = a.text("table"), field = a.text("field"),
                    numerator = a.text("numerator"), denominator = a.text("denominator");
  a.rest_on("format-error");
  return [=](const Evidence& evidence) -> Value {
    const Json& document = evidence.experiment("format-error");
    return ratio(field_of(document, table, numerator, field),
                 field_of(document, table, denominator, field));
  };
}

}  // namespace

const Methods& format_methods() {
  static const Methods all{{"format_bits", bits},
                           {"format_exponents", exponents},
                           {"format_least_exponent", least_exponent},
                           {"format_largest_exponent", largest_exponent},
                           {"format_exponents_with_fraction_bits", exponents_with_fraction_bits},
                           {"format_codes_of_kind", codes_of_kind},
                           {"format_code_of_kind", code_of_kind},
                           {"format_precision_tapers", precision_tapers},
                           {"format_largest_with_fraction_bits", largest_with_fraction_bits},
                           {"format_gaussian_sqnr_db", gaussian_sqnr_db},
                           {"format_error_difference", format_error_difference},
                           {"format_error_ratio", format_error_ratio}};
  return all;
}

}  // namespace ospsim
