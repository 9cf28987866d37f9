#include "model/heal/model_gradient.hpp"

#include <cmath>
#include <optional>

#include <gtest/gtest.h>

#include "comm/collectives.hpp"
#include "model/heal/healer.hpp"
#include "model/llama/names.hpp"
#include "tests/support/every_term.hpp"
#include "tests/support/memory_factors.hpp"
#include "tests/support/random_term.hpp"
#include "tests/support/slow_parameters.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/tiny_model.hpp"

namespace hack::model {
namespace {

using hack::testing::Dense;
using hack::testing::MemoryFactors;
using hack::testing::random_term;
using hack::testing::ReferenceLlama;
using hack::testing::SlowMatrix;
using hack::testing::SlowTerm;
using hack::testing::TemporaryDirectory;
using hack::testing::TinyModel;
using kernels::Structure;
using svd::StoredTerm;

constexpr Device cpu = Device::cpu;

/// A tiny model on disk, made by rank 0 and seen by all.
class SharedTiny {
 public:
  explicit SharedTiny(const TinyModel& tiny) {
    if (world_.is_root()) {
      folder_.emplace();
      hack::testing::write_hf(tiny, *folder_ / "model");
      path_ = (*folder_ / "model").string();
    }
    comm::broadcast(world_, path_);
    checkpoint_ = Checkpoint::open(path_);
  }
  ~SharedTiny() { world_.barrier(); }

  const comm::Communicator& world() const { return world_; }
  const Checkpoint& operator*() const { return *checkpoint_; }
  std::string place(const std::string& name) const { return path_ + "/" + name; }

 private:
  comm::Communicator world_ = comm::Communicator::world();
  std::optional<TemporaryDirectory> folder_;
  std::string path_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

std::vector<int> some_ids(index_t n, int seed) {
  std::vector<int> ids(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) ids[static_cast<std::size_t>(i)] = static_cast<int>((i + seed) * 37 % 261);
  return ids;
}

/// Σ over the tokens of KL(p ‖ q) of two models' next tokens, in double with plain loops.
double slow_divergence(const std::vector<std::vector<double>>& dense, const std::vector<std::vector<double>>& other) {
  const auto log_sum = [](const std::vector<double>& logits) {
    double sum = 0;
    for (const double logit : logits) sum += std::exp(logit);
    return std::log(sum);
  };
  double sum = 0;
  for (std::size_t t = 0; t < dense.size(); ++t) {
    const double of_dense = log_sum(dense[t]), of_other = log_sum(other[t]);
    for (std::size_t i = 0; i < dense[t].size(); ++i) {
      const double p = dense[t][i] - of_dense;
      sum += std::exp(p) * (p - other[t][i] + of_other);
    }
  }
  return sum;
}

/// The windows' divergence and its derivatives by central differences, for one parameter after the other.
class SlowGradient {
 public:
  SlowGradient(const Checkpoint& checkpoint, const MemoryFactors& factors, std::vector<std::vector<int>> windows)
      : model_(checkpoint), factors_(factors), windows_(std::move(windows)) {
    for (const std::vector<int>& ids : windows_) dense_.push_back(model_.logits(ids));
    for (const std::string& name : factors.matrices()) model_.set(name, SlowMatrix(factors, name).values());
  }

  double divergence() const {
    double sum = 0;
    for (std::size_t w = 0; w < windows_.size(); ++w) sum += slow_divergence(dense_[w], model_.logits(windows_[w]));
    return sum;
  }

  std::vector<double> derivatives(const std::string& name) {
    constexpr double step = 1e-5;  // rounding leaves 1e-11 of a difference of order 1, the third derivative less
    SlowMatrix matrix(factors_, name);
    std::vector<double> out;
    for (SlowTerm& term : matrix.terms) {
      for (double& parameter : term.parameters) {
        const double before = parameter;
        const auto at = [&](double value) {
          parameter = value;
          model_.set(name, matrix.values());
          return divergence();
        };
        const double above = at(before + step), below = at(before - step);
        out.push_back((above - below) / (2 * step));
        parameter = before;
      }
    }
    model_.set(name, matrix.values());
    return out;
  }

 private:
  ReferenceLlama model_;
  const MemoryFactors& factors_;
  std::vector<std::vector<int>> windows_;
  std::vector<std::vector<std::vector<double>>> dense_;  // (windows) logits of the dense model
};

/// The gradients of all matrices as this program finds them on a grid, on every rank.
struct Gradients {
  double divergence = 0;
  std::vector<std::vector<float>> of;  // (matrices)
  std::vector<std::string> names;
};

Gradients gradients_on(const comm::ProcessGrid& grid, const Checkpoint& checkpoint, const MemoryFactors& factors,
                       const std::vector<std::vector<int>>& windows, int threads) {
  Queue<cpu> queue(threads);
  ModelGradient<cpu> model(checkpoint, factors, grid.tensor(), queue, {DType::f32, std::ssize(windows[0]), DType::f32});
  const ParameterVector layout(model.matrices());
  std::vector<float> parameters(static_cast<std::size_t>(layout.size())), gradients(parameters.size());
  for (std::size_t m = 0; m < model.matrices().size(); ++m) {
    model.matrices()[m]->place(layout.place(m, parameters.data()), layout.place(m, gradients.data()));
  }
  Gradients found;
  for (int w = grid.data().rank(); w < static_cast<int>(windows.size()); w += grid.data().size()) {
    found.divergence += model.differentiate(windows[static_cast<std::size_t>(w)], 1);
  }
  found.divergence = comm::all_reduce_sum(grid.data(), found.divergence);
  layout.sum(grid, gradients.data());
  for (std::size_t m = 0; m < model.matrices().size(); ++m) {
    std::vector<float>& whole = found.of.emplace_back(model.matrices()[m]->answered(layout.place(m, gradients.data())));
    comm::all_reduce_sum<cpu>(grid.tensor(), queue, {whole.data(), 1, std::ssize(whole)});
    found.names.push_back(model.matrices()[m]->name());
  }
  return found;
}

struct NamedCase {
  const char* name;
  TinyModel tiny;
  bool in_other_codecs = false;
};

constexpr TinyModel small = {.hidden = 18, .intermediate = 37, .heads = 4, .kv_heads = 2, .head_dim = 6};

TinyModel small_with(TinyModel tiny) {
  if (tiny.hidden == TinyModel().hidden) tiny.hidden = small.hidden;
  if (tiny.heads == TinyModel().heads) {
    tiny.heads = small.heads;
    tiny.kv_heads = small.kv_heads;
  }
  tiny.intermediate = small.intermediate;
  return tiny;
}

class ModelGradientTest : public ::testing::TestWithParam<NamedCase> {};

/// ‖found - expected‖ / ‖expected‖. f32 sums of some hundred terms through two layers and back: 1e-4 of a tensor's
/// gradient is fifty times what is seen.
double relative_error(const std::vector<float>& found, const auto& expected) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(found[i] - expected[i], 2);
    norm += expected[i] * expected[i];
  }
  EXPECT_GT(norm, 0);
  return std::sqrt(error / norm);
}

void expect_same(const Gradients& expected, const std::vector<Gradients>& found) {
  for (const Gradients& gradients : found) {
    EXPECT_NEAR(gradients.divergence, expected.divergence, 1e-5 * expected.divergence);
    for (std::size_t m = 0; m < expected.of.size(); ++m) {
      ASSERT_EQ(gradients.of[m].size(), expected.of[m].size());
      EXPECT_LE(relative_error(gradients.of[m], expected.of[m]), 1e-4) << expected.names[m];
    }
  }
}

void expect_differences(SlowGradient& slow, const std::vector<Gradients>& found) {
  const double divergence = slow.divergence();
  for (const Gradients& gradients : found) EXPECT_NEAR(gradients.divergence, divergence, 1e-5 * divergence);
  for (std::size_t m = 0; m < found[0].names.size(); ++m) {
    SCOPED_TRACE(found[0].names[m]);
    const std::vector<double> expected = slow.derivatives(found[0].names[m]);
    for (const Gradients& gradients : found) {
      ASSERT_EQ(gradients.of[m].size(), expected.size());
      EXPECT_LE(relative_error(gradients.of[m], expected), 1e-4);
    }
  }
}

/// Every parameter of every structure, on all grids of these ranks.
TEST_P(ModelGradientTest, IsTheCentralDifferencesOfTheTwinInDouble) {
  const SharedTiny files(small_with(GetParam().tiny));
  const MemoryFactors factors = hack::testing::every_term(*files, GetParam().in_other_codecs);
  const std::vector<std::vector<int>> windows = {some_ids(5, 0), some_ids(5, 11)};
  // Threads of several ranks on few cores wait for each other more than they work.
  const int threads = files.world().size() > 1 ? 1 : 2;
  std::vector<Gradients> found;
  for (int tensor = files.world().size(); tensor > 0; --tensor) {
    if (files.world().size() % tensor != 0) continue;
    const comm::ProcessGrid grid(files.world(), tensor);
    found.push_back(gradients_on(grid, *files, factors, windows, threads));
    if (threads > 1) {
      const Gradients again = gradients_on(grid, *files, factors, windows, 1);
      EXPECT_EQ(again.of, found.back().of) << "bits do not depend on threads";
    }
  }
  EXPECT_EQ(found[0].names.size(), factors.matrices().size());
  if (files.world().is_root() && files.world().size() > 1) {
    // One rank's are compared with differences where there is one.
    const comm::ProcessGrid alone(comm::Communicator::self(), 1);
    expect_same(gradients_on(alone, *files, factors, windows, threads), found);
  } else if (files.world().is_root()) {
    SlowGradient slow(*files, factors, windows);
    expect_differences(slow, found);
  }
  files.world().barrier_asleep();  // the differences take one rank some seconds
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, ModelGradientTest,
    ::testing::Values(NamedCase{"SharedKeys", {}}, NamedCase{"OtherCodecs", {}, true},
                      NamedCase{"TiedWithBiases", {.tied = true, .attention_bias = true, .mlp_bias = true}},
                      NamedCase{"HeadNorms", {.qk_norm = true}},
                      NamedCase{"FewerHeadsThanRanks", {.heads = 1, .kv_heads = 1, .head_dim = 8}}),
    [](const auto& shape) { return std::string(shape.param.name); });

/// The tiny model's own weights in 2 bits and 4, and as bf16 factors.
MemoryFactors coarse(const Checkpoint& checkpoint) {
  MemoryFactors factors;
  for (index_t layer = 0; layer < checkpoint.config().layers; ++layer) {
    for (const Linear linear : mlp_linears) {
      const std::string name = weight_name(layer, linear);
      const TensorInfo info = checkpoint.info(name);
      const std::vector<float> values = hack::testing::read_all(checkpoint, name);
      const auto of = [&](const svd::Tile& at) -> std::vector<StoredTerm> {
        if (linear == Linear::up && at.j == 0) {
          return {random_term({Structure::interpolative, Codec::bf16, at.height, at.width, 2}, 5, 0.2f)};
        }
        const Codec codec = linear == Linear::down ? Codec::q4_1 : Codec::q2_64;
        StoredTerm term{Structure::dense, codec, 0, at.height, at.width, {}};
        svd::EncodedTerm encoded(svd::TermArrays(term.structure, codec, at.height, at.width, 0));
        std::vector<float> tile(static_cast<std::size_t>(at.height * at.width));
        for (index_t i = 0; i < at.height; ++i) {
          std::copy_n(values.data() + (at.row + i) * info.cols + at.col, at.width, tile.data() + i * at.width);
        }
        const std::vector<double> weights(static_cast<std::size_t>(at.width), 1.0);
        svd::encode_rows(codec, {tile.data(), at.height, at.width}, weights, encoded.codes(0), encoded.scales(0));
        encoded.append_to(term.bytes);
        return {term};
      };
      factors.add(name, svd::TileGrid(info.rows, info.cols, 64, 64), of);
    }
  }
  return factors;
}

class HealerTest : public ::testing::Test {
 protected:
  HealerTest()
      : factors_(coarse(*files_)), grid_(files_.world(), files_.world().size()), text_{some_ids(12 * 16, 3), 16} {
    options_ = {.steps = 40, .rate = 1e-2, .batch = 32, .window = 16, .held_out = 2, .judge_every = 10};
  }

  struct Trained {
    HealReport report;
    std::vector<std::vector<float>> parameters;
  };

  /// Trains with a journal of this name; ends with an exception behind step `killed_after`.
  std::optional<Trained> train(const std::string& journal_name, bool resume, int killed_after = 1000) {
    ModelGradient<cpu> model(*files_, factors_, grid_.tensor(), queue_, {DType::f32, 16, DType::f32});
    HealOptions options = options_;
    options.on_step = [&](const HealProgress& step) {
      if (step.step > killed_after) throw std::runtime_error("killed");
    };
    Healer<cpu> healer(grid_, model, queue_, text_, options);
    try {
      comm::Journal journal(files_.world(), files_.place(journal_name), "key", resume);
      Trained trained{healer.run(&journal), {}};
      for (std::size_t m = 0; m < model.matrices().size(); ++m) trained.parameters.push_back(healer.parameters(m));
      return trained;
    } catch (const std::runtime_error&) {
      return std::nullopt;
    }
  }

  SharedTiny files_{small_with({})};
  MemoryFactors factors_;
  comm::ProcessGrid grid_;
  Queue<cpu> queue_{files_.world().size() > 1 ? 1 : 2};
  TokenWindows text_;
  HealOptions options_;
};

TEST_F(HealerTest, LowersTheDivergence) {
  const std::optional<Trained> trained = train("plain", true);
  ASSERT_TRUE(trained.has_value());
  EXPECT_LT(trained->report.after, 0.8 * trained->report.before);
  EXPECT_GT(trained->report.best_step, 0);
}

TEST_F(HealerTest, KilledAndResumedHasTheSameBits) {
  const std::optional<Trained> undisturbed = train("undisturbed", true);
  EXPECT_FALSE(train("killed", true, 24).has_value());
  const std::optional<Trained> resumed = train("killed", true);
  ASSERT_TRUE(undisturbed.has_value() && resumed.has_value());
  EXPECT_EQ(resumed->parameters, undisturbed->parameters);
  EXPECT_EQ(resumed->report.after, undisturbed->report.after);
}

TEST_F(HealerTest, IsNeverWorseThanTheStart) {
  options_.rate = 0.5;  // destroys
  options_.steps = 12;
  const std::optional<Trained> trained = train("wild", true);
  ASSERT_TRUE(trained.has_value());
  EXPECT_LE(trained->report.after, trained->report.before);
}

TEST_F(HealerTest, RefusesWhatIsImpossible) {
  ModelGradient<cpu> model(*files_, factors_, grid_.tensor(), queue_, {DType::f32, 16, DType::f32});
  const TokenWindows one{some_ids(16, 0), 16};
  EXPECT_THROW((Healer<cpu>(grid_, model, queue_, one, options_)), Error);
  options_.rate = -1;
  EXPECT_THROW((Healer<cpu>(grid_, model, queue_, text_, options_)), Error);
}

}  // namespace
}  // namespace hack::model
