// Gradients of a compressed model in all parameters on the device, against the CPU's.

#include <cmath>

#include <gtest/gtest.h>

#include "model/heal/model_gradient.hpp"
#include "model/heal/parameter_vector.hpp"
#include "tests/gpu/tiny_files.hpp"
#include "tests/support/every_term.hpp"

namespace hack::model {
namespace {

using hack::testing::MemoryFactors;
using hack::testing::TinyModel;
using tests::TinyFiles;

/// Gradients of this rank, matrix after matrix.
template <Device D>
std::vector<std::vector<float>> gradients(const TinyFiles& files, const MemoryFactors& factors, double& divergence) {
  Queue<D> queue(1);
  const std::vector<int> ids = {3, 100, 7, 250, 31, 9, 77};
  ModelGradient<D> model(files.checkpoint(), factors, files.world(), queue, {DType::f32, std::ssize(ids), DType::f32});
  const ParameterVector layout(model.matrices());
  std::vector<float> parameters(static_cast<std::size_t>(layout.size())), sums(parameters.size());
  for (std::size_t m = 0; m < model.matrices().size(); ++m) {
    model.matrices()[m]->place(layout.place(m, parameters.data()), layout.place(m, sums.data()));
  }
  divergence = model.differentiate(ids, 1);
  std::vector<std::vector<float>> found;
  for (std::size_t m = 0; m < model.matrices().size(); ++m) {
    found.push_back(model.matrices()[m]->answered(layout.place(m, sums.data())));
  }
  return found;
}

/// The CPU's are central differences of the twin in double (test_model_gradient).
TEST(GpuHealing, GradientsAreTheCpus) {
  const TinyModel grouped{.hidden = 18, .intermediate = 37, .heads = 4, .kv_heads = 2, .head_dim = 8};
  TinyModel biased = grouped;
  biased.tied = biased.attention_bias = biased.mlp_bias = biased.qk_norm = true;
  for (const TinyModel& tiny : {grouped, biased}) {
    const TinyFiles files(tiny);
    const MemoryFactors factors = hack::testing::every_term(files.checkpoint(), tiny.tied);
    double of_cpu = 0, of_gpu = 0;
    const auto expected = gradients<Device::cpu>(files, factors, of_cpu);
    const auto found = gradients<Device::cuda>(files, factors, of_gpu);
    EXPECT_NEAR(of_gpu, of_cpu, 1e-5 * of_cpu);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t m = 0; m < found.size(); ++m) {
      double error = 0, norm = 0;
      ASSERT_EQ(found[m].size(), expected[m].size());
      for (std::size_t i = 0; i < found[m].size(); ++i) {
        error += std::pow(found[m][i] - expected[m][i], 2);
        norm += std::pow(expected[m][i], 2);
      }
      EXPECT_LE(std::sqrt(error), 1e-4 * std::sqrt(norm)) << "matrix " << m;  // f32 sums in another order
    }
  }
}

}  // namespace
}  // namespace hack::model
