#include <fmt/format.h>

#include "experiments/claims/methods.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/layout/grid.hpp"
#include "sim/model/model.hpp"

namespace ospsim {
namespace {

/// The row of a part of device-time whose fields have these values. The device must be of the kind
/// that the claim is about: its name contains `device`.
const Json& row_of(const Evidence& evidence, const std::string& device, const std::string& part,
                   const Json& fields) {
  const Json& document = evidence.experiment("device-time");
  const auto name = document.at("device").get<std::string>();
  if (name.find(device) == std::string::npos)
    throw UnavailableError(fmt::format("measured on a {}, not on a {}", name, device));
  if (document.contains(part))
    for (const auto& row : document.at(part)) {
      bool all = true;
      for (const auto& [field, value] : fields.items())
        all = all && row.contains(field) && row.at(field) == value;
      if (!all) continue;
      if (row.at("check") != "passed")
        throw UnavailableError(fmt::format("{}: what was timed did not pass its check", part));
      return row;
    }
  throw UnavailableError(fmt::format("device-time has no {} with {}", part, fields.dump()));
}

double time_ms(const Json& row) {
  return row.at("time_ms").get<double>();
}

Json as_the_paper(const std::string& model, const std::string& video) {
  return {{"name", model}, {"video", video}};
}

/// Seconds of one video: 50 steps of two forward passes. Embeddings, the head, the text encoder and
/// the VAE are left out.
Method device_video_seconds(Arguments& a) {
  const std::string device = a.text("device"), model = a.text("model"), video = a.text("video");
  a.rest_on("device-time");
  return [=](const Evidence& evidence) -> Value {
    return time_ms(row_of(evidence, device, "forward", as_the_paper(model, video))) * 1e-3 *
           forwards_per_video;
  };
}

Method device_speedup(Arguments& a) {
  const std::string device = a.text("device"), video = a.text("video");
  a.rest_on("device-time");
  return [=](const Evidence& evidence) -> Value {
    const auto time = [&](const char* model) {
      return time_ms(row_of(evidence, device, "forward", as_the_paper(model, video)));
    };
    return ratio(time("wan2.1-14b"), time("osp-next-14b"));
  };
}

/// The same with all that this project arranges otherwise than the paper.
Method device_best_speedup(Arguments& a) {
  const std::string device = a.text("device"), video = a.text("video");
  a.rest_on("device-time");
  return [=](const Evidence& evidence) -> Value {
    const Json best{{"name", "osp-next-14b"}, {"video", video},           {"padding", "left out"},
                    {"text", "once"},         {"rearrange", "with norm"}, {"numbers", "bf16"}};
    return ratio(time_ms(row_of(evidence, device, "forward", as_the_paper("wan2.1-14b", video))),
                 time_ms(row_of(evidence, device, "choices", best)));
  };
}

/// Full attention over attention in the sub-sequences of Skiparse-2D, ratio 2, already rearranged.
Method device_attention_ratio(Arguments& a) {
  const std::string device = a.text("device");
  const Grid grid = parse_grid(a.text("grid"));
  a.rest_on("device-time");
  return [=](const Evidence& evidence) -> Value {
    const Json full{{"name", "full attention"}, {"queries", grid.tokens()}, {"heads", 40}};
    const Json sparse{{"name", "sparse block's attention, already rearranged"},
                      {"t", grid.t},
                      {"h", grid.h},
                      {"w", grid.w},
                      {"phase", "token"}};
    return ratio(time_ms(row_of(evidence, device, "attention", full)),
                 time_ms(row_of(evidence, device, "attention", sparse)));
  };
}

}  // namespace

const Methods& device_methods() {
  static const Methods methods{{"device_attention_ratio", device_attention_ratio},
                               {"device_best_speedup", device_best_speedup},
                               {"device_speedup", device_speedup},
                               {"device_video_seconds", device_video_seconds}};
  return methods;
}

}  // namespace ospsim
