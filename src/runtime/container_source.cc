#include "runtime/container_source.h"

#include <fmt/format.h>

#include <cmath>

#include "base/half.h"
#include "model/orthonormal.h"
#include "watersic/error.h"

namespace watersic {
namespace {

float widened(uint16_t bits, SectionKind kind) {
  return kind == SectionKind::kF16 ? float_from_half(bits) : float_from_bf16(bits);
}

}  // namespace

Rotation stored_rotation(const ContainerReader& reader, const ModelConfig& config,
                         ThreadPool& pool) {
  if (!reader.has(kBasisName)) return {};
  const Section& section = reader.section(kBasisName);
  const auto fail = [&](const std::string& expected, const std::string& found) {
    throw Error(fmt::format("{}: tensor '{}': expected {}, found {}", reader.path().string(),
                            kBasisName, expected, found));
  };
  if (section.kind != SectionKind::kQuantized) fail("a coded tensor", name_of(section.kind));
  if (section.rows() != config.hidden || section.cols() != config.hidden)
    fail(fmt::format("{0} x {0}, the size of the model's stream", config.hidden),
         fmt::format("{} x {}", section.rows(), section.cols()));
  try {
    return {.stream = stream_from_axes(pool, dequantize(reader.quantized(kBasisName, pool))),
            .heads = {}};
  } catch (const Error& e) {
    throw Error(fmt::format("{}: tensor '{}': {}", reader.path().string(), kBasisName, e.what()));
  }
}

std::vector<std::string> ContainerSource::names() const {
  std::vector<std::string> names;
  for (const Section& section : reader_.sections())
    if (section.is_tensor() && section.name != kBasisName) names.push_back(section.name);
  return names;
}

bool ContainerSource::has(const std::string& name) const {
  return reader_.has(name) && reader_.section(name).is_tensor();
}

const Section& ContainerSource::tensor(const std::string& name) const {
  if (!has(name))
    throw Error(
        fmt::format("{}: tensor '{}': found no such tensor", reader_.path().string(), name));
  return reader_.section(name);
}

WeightSource::Shape ContainerSource::shape(const std::string& name) const {
  const Section& section = tensor(name);
  return {.rows = section.rows(), .cols = section.cols()};
}

Matrix<float> ContainerSource::matrix(const std::string& name) const {
  const Section& section = tensor(name);
  Matrix<float> out;
  if (section.kind == SectionKind::kQuantized) {
    out = dequantize(reader_.quantized(name, pool_));
  } else {
    out = Matrix<float>(section.rows(), section.cols());
    const auto raw = reader_.raw(name);
    for (size_t i = 0; i < raw.size(); ++i) out.values()[i] = widened(raw[i], section.kind);
  }
  for (const float value : out.values()) {
    if (!std::isfinite(value)) {
      throw Error(fmt::format("{}: tensor '{}': expected finite values, found {}",
                              reader_.path().string(), name, value));
    }
  }
  return out;
}

// Rows are asked for token by token; decoding the whole matrix each time would take longer than all
// else.
std::shared_ptr<const Matrix<float>> ContainerSource::decoded(const std::string& name) const {
  const std::scoped_lock lock(mutex_);
  if (decoded_ == nullptr || decoded_name_ != name) {
    decoded_ = nullptr;  // before the next one takes its memory
    decoded_ = std::make_shared<const Matrix<float>>(matrix(name));
    decoded_name_ = name;
  }
  return decoded_;
}

Matrix<float> ContainerSource::rows(const std::string& name,
                                    const std::vector<int32_t>& rows) const {
  const Section& section = tensor(name);
  const bool quantized = section.kind == SectionKind::kQuantized;
  const auto all = quantized ? decoded(name) : nullptr;
  const auto raw = quantized ? std::span<const uint16_t>() : reader_.raw(name);
  Matrix<float> out(static_cast<int64_t>(rows.size()), section.cols());
  for (int64_t i = 0; i < out.rows(); ++i) {
    const int64_t row = rows[static_cast<size_t>(i)];
    if (row < 0 || row >= section.rows()) {
      throw Error(fmt::format("{}: tensor '{}': expected a row below {}, found {}",
                              reader_.path().string(), name, section.rows(), row));
    }
    for (int64_t j = 0; j < out.cols(); ++j) {
      out(i, j) = quantized
                      ? (*all)(row, j)
                      : widened(raw[static_cast<size_t>(row * section.cols() + j)], section.kind);
    }
  }
  return out;
}

}  // namespace watersic
