//! Effective medium theory (EMT): metals in microseconds.
//!
//! K. W. Jacobsen, P. Stoltze and J. K. Nørskov, Surf. Sci. 366, 394 (1996), with ASE's parameters, cutoffs and zero of
//! energy (every element's equilibrium fcc crystal), so that energies and forces agree with ASE's `EMT`.

mod device;
mod elements;
mod launch;
mod template_share;

pub use device::EmtOnDevice;
use elements::{CutoffRule, Model, N_ELEMENTS};
use template_share::{Scratch, Tables, TemplateShare};

use super::batch::evaluate_in_chunks;
use super::kind::{Form, Kind, Parameter};
use super::{Answer, Evaluation, Potential};
use crate::error::{Error, Result};
use crate::gpu::Device;
use crate::gpu::Place;
use crate::system::elements::symbol;
use crate::system::vector::is_finite;
use crate::system::{Cell, Structure, System, Vec3};
use serde::{Deserialize, Serialize};

/// `kind = "emt"`: effective medium theory, computed on the GPU if one is named.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmtSettings {
    /// Cutoff from the largest element present, as in ASAP, instead of the largest element with parameters, as in ASE.
    pub asap_cutoff: bool,
}

impl Kind for EmtSettings {
    const NAME: &'static str = "emt";
    const FORM: Option<Form> = Some(Form {
        examples: &["emt", "emt:asap-cutoff"],
        parameters: &[Parameter::Flag { name: "asap-cutoff", key: "asap_cutoff" }],
    });

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn describe(&self) -> String {
        "EMT".into()
    }

    fn doubt(&self, elements: &[u8]) -> Option<String> {
        let mut doubtful: Vec<u8> = elements.iter().copied().filter(|&number| !elements::is_metal(number)).collect();
        doubtful.sort_unstable();
        doubtful.dedup();
        let symbols: Vec<&str> = doubtful.into_iter().filter_map(symbol).collect();
        (!symbols.is_empty()).then(|| {
            format!(
                "EMT is made for metals; its energies with {} mean little, take another potential for results",
                symbols.join(", ")
            )
        })
    }

    fn open(&self, system: Option<&System>, place: &Place) -> Result<Box<dyn Potential>> {
        let asap_cutoff = self.asap_cutoff;
        Ok(match (place, system) {
            (Place::Gpu(name), _) => Box::new(EmtOnDevice::new(&Device::open(name)?, asap_cutoff, system)?),
            (Place::Cpu | Place::CpuF64, Some(system)) => Box::new(Emt::with_system(asap_cutoff, system)?),
            (Place::Cpu | Place::CpuF64, None) => Box::new(Emt::new(asap_cutoff)),
        })
    }
}

/// EMT for Al, Cu, Ag, Au, Ni, Pd and Pt, and as in ASE also for H, C, N and O, where the results mean little.
#[derive(Debug)]
pub struct Emt {
    rule: CutoffRule,
    /// One model for every element that may set the cutoff.
    models: Vec<Model>,
    template: Option<Template>,
}

/// The template, and its share of every structure, computed once.
#[derive(Debug)]
struct Template {
    cell: Cell,
    numbers: Vec<u8>,
    positions: Vec<Vec3>,
    /// The model that the share was made with.
    model: usize,
    share: TemplateShare,
}

impl Emt {
    /// EMT for any structure. With `asap_cutoff` the cutoff follows from the largest element present, as in ASAP. Without it the
    /// cutoff follows from the largest element in the table, which is ASE's default.
    pub fn new(asap_cutoff: bool) -> Self {
        let (rule, setting_elements) = if asap_cutoff {
            (CutoffRule::Present, (0..N_ELEMENTS).collect())
        } else {
            (CutoffRule::WholeTable, vec![elements::largest(CutoffRule::WholeTable, &[])])
        };
        let models = setting_elements.into_iter().map(|element| Model::new(rule, element)).collect();
        Emt { rule, models, template: None }
    }

    /// EMT that computes the share of `system`'s template once. For structures that begin with the template, bit for bit, in the
    /// system's cell, it computes only the pairs with other atoms. All other structures are computed whole, to the same values.
    ///
    /// # Errors
    /// `BadInput` for elements without parameters, for template positions that are not finite, and for a cell without volume
    /// or much thinner than the cutoff.
    pub fn with_system(asap_cutoff: bool, system: &System) -> Result<Self> {
        let mut emt = Emt::new(asap_cutoff);
        // The free atoms may bring the element that sets the cutoff.
        let mut elements = elements_of(&system.numbers())?;
        let model = emt.model_index(&elements);
        elements.truncate(system.n_template());
        if let Some(atom) = system.template_positions.iter().position(|&position| !is_finite(position)) {
            return Err(Error::bad_input(format!(
                "atom {} of the template has a position that is not a finite number; give it in Å",
                atom + 1
            )));
        }
        emt.template = Some(Template {
            cell: system.cell,
            numbers: system.template_numbers.clone(),
            positions: system.template_positions.clone(),
            model,
            share: TemplateShare::new(&emt.models[model], &system.cell, elements, &system.template_positions)?,
        });
        Ok(emt)
    }

    /// Energy and forces of one structure. If two atoms share one place, the energy is infinite and the forces are not numbers.
    /// If a position is not finite, energy and forces are not numbers.
    ///
    /// # Errors
    /// `BadInput` for elements without parameters, and for a cell without volume or much thinner than the cutoff.
    pub fn energy_and_forces(&self, structure: &Structure) -> Result<Evaluation> {
        self.evaluate_one(structure, &mut Scratch::default())
    }

    fn evaluate_one(&self, structure: &Structure, scratch: &mut Scratch) -> Result<Evaluation> {
        scratch.elements.clear();
        for &number in &structure.numbers {
            scratch.elements.push(place(number)?);
        }
        let model = self.model_index(&scratch.elements);
        match &self.template {
            Some(template) if template.model == model && template.begins(structure) => {
                Ok(template.share.evaluate(&structure.positions, scratch))
            }
            _ => {
                Ok(TemplateShare::empty(&self.models[model], &structure.cell)?.evaluate(&structure.positions, scratch))
            }
        }
    }

    /// The model for a structure of these elements (places in the table).
    fn model_index(&self, elements: &[u8]) -> usize {
        match self.rule {
            CutoffRule::WholeTable => 0,
            CutoffRule::Present => elements::largest(self.rule, elements),
        }
    }
}

impl Template {
    /// Whether `structure` is this template, bit for bit, followed by other atoms.
    fn begins(&self, structure: &Structure) -> bool {
        self.cell == structure.cell
            && structure.numbers.starts_with(&self.numbers)
            && bytemuck::cast_slice::<Vec3, u8>(&structure.positions).starts_with(bytemuck::cast_slice(&self.positions))
    }
}

impl Potential for Emt {
    fn name(&self) -> String {
        "emt".into()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        evaluate_in_chunks(structures, deliver, |structure, scratch| {
            self.evaluate_one(structure, scratch).map(Answer::Done)
        })
    }
}

/// The places of `numbers` in the table of parameters.
fn elements_of(numbers: &[u8]) -> Result<Vec<u8>> {
    numbers.iter().map(|&number| place(number)).collect()
}

fn place(number: u8) -> Result<u8> {
    match elements::element(number) {
        Some(place) => Ok(place as u8),
        None => Err(Error::bad_input(format!(
            "EMT has no parameters for {}; it knows {}",
            symbol(number).unwrap_or("an unknown element"),
            elements::known_elements()
        ))),
    }
}
